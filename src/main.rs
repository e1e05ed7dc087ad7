//! The `envctl` binary.

fn main() -> std::process::ExitCode {
    envctl::cli::main()
}
