# pip install --requirement requirements.txt, on the environment that is there
# pip installs and never removes. Where the file names every package with its version,
# what comes of an older environment is what comes of nothing, once those are gone that
# it does not name any more. Everywhere else it starts from nothing.
gone() { .venv/bin/python -c '
import ensurepip, glob, os, re, sys, sysconfig
from importlib.metadata import distributions
plain = lambda text: re.sub("[-_.]+", "-", text).lower()
lines = {line.split(";")[0].split(" #")[0].strip(" \t\r\n\\") for line in open("requirements.txt")}
lines = {line for line in lines if line and not line.startswith(("#", "--hash="))}
pinned = [re.fullmatch(r"([\w.-]+)(\[[^]]*\])? *== *[\w.!+-]+", line) for line in lines]
if not all(pinned): sys.exit("not every package has one version in requirements.txt: from nothing")
wanted = {plain(found[1]) for found in pinned}
there = {plain(found.metadata["Name"]): found for found in distributions()}
folders = (os.path.dirname(ensurepip.__file__) + "/_bundled", sysconfig.get_config_var("WHEEL_PKG_DIR"))
fresh = {tuple(os.path.basename(file).split("-")[:2]) for folder in folders if folder for file in glob.glob(folder + "/*.whl")}
own = {name for name, found in there.items() if (name, found.version) in fresh}
needed = {plain(re.match(r"[\w.-]+", text)[0]) for name in wanted & set(there) for text in there[name].requires or [] if "extra" not in text}
rest = set(there) - wanted - own
if rest & (needed | {"pip", "setuptools"}): sys.exit("not every package is named in requirements.txt: from nothing")
print(*sorted(rest))'; }
gone && .venv/bin/pip install --requirement requirements.txt && names=$(gone) &&
    { test -z "$names" || .venv/bin/pip uninstall --yes $names; } ||
    { rm -rf .venv && python3 -m venv .venv && .venv/bin/pip install --requirement requirements.txt; }
