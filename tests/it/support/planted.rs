//! Credentials that nobody has: put together at run time, so that no file of
//! this project looks as if it held one.

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";

/// Makes values, always the same ones in the same order.
pub struct Planter(u64);

impl Planter {
    pub fn new() -> Self {
        Planter(0x2545_f491_4f6c_dd1d)
    }

    /// `count` of these characters.
    pub fn of(&mut self, alphabet: &str, count: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            alphabet[(self.0 >> 33) as usize % alphabet.len()]
        };
        (0..count).map(|_| next()).collect()
    }

    /// Letters and digits.
    pub fn word(&mut self, count: usize) -> String {
        self.of(&[UPPER, LOWER, DIGITS].concat(), count)
    }

    /// Small letters and digits.
    pub fn small(&mut self, count: usize) -> String {
        self.of(&[LOWER, DIGITS].concat(), count)
    }

    /// Hexadecimal digits.
    pub fn hex(&mut self, count: usize) -> String {
        self.of("0123456789abcdef", count)
    }

    /// An access key ID of AWS.
    pub fn aws(&mut self) -> String {
        format!("{}{}", ["AK", "IA"].concat(), self.of(&[UPPER, "234567"].concat(), 16))
    }

    /// A personal access token of GitHub.
    pub fn github(&mut self) -> String {
        format!("{}_{}", ["gh", "p"].concat(), self.word(36))
    }

    /// A private key in its armour.
    pub fn key(&mut self, kind: &str) -> String {
        let dashes = "-".repeat(5);
        let data: Vec<String> = (0..12).map(|_| self.of(&[UPPER, LOWER, DIGITS, "+/"].concat(), 64)).collect();
        let line = |word: &str| format!("{dashes}{word} {kind}PRIVATE {}{dashes}", "KEY");
        format!("{}\n{}\n{}\n", line("BEGIN"), data.join("\n"), line("END"))
    }

    /// A token of three parts with a signature.
    pub fn jwt(&mut self) -> String {
        let part = |planter: &mut Self, count| format!("{}{}", ["e", "y"].concat(), planter.word(count));
        format!("{}.{}.{}", part(self, 34), part(self, 60), self.word(43))
    }
}
