//! A virtual environment, with links and scripts that name their own place.

use super::registries::CERTIFICATES;
use super::{Project, Registries, made_once_and_used_everywhere, project_file};
use crate::support::Lab;

/// What the release's tests were run with, and what they run on.
const REQUIREMENTS: &str = "\
flit_core==3.9.0
werkzeug==3.0.3
jinja2==3.1.4
markupsafe==2.1.5
itsdangerous==2.2.0
click==8.1.7
blinker==1.8.2
asgiref==3.8.1
iniconfig==2.0.0
packaging==24.0
pluggy==1.4.0
pytest==8.1.1
python-dotenv==1.0.1
";

const SUITE: &[&str] = &[".venv/bin/pytest", "-q", "-p", "no:cacheprovider", "tests"];

#[test]
fn a_real_python_project() {
    let lab = Lab::unprivileged();
    let registries = Registries::for_developer(&lab);
    let cache = "name = \"venv\"\ninputs = [\"requirements.txt\", \"pyproject.toml\"]\npath = \".venv\"\n\
                 setup = '''python3 -m venv .venv && .venv/bin/pip install --no-deps -r requirements.txt && \
                 .venv/bin/pip install --no-deps --no-build-isolation --editable .'''\n";
    let more = [
        ("requirements.txt", REQUIREMENTS),
        (CERTIFICATES, &registries.certificates),
        (".gitignore", ".venv/\n__pycache__/\n"),
        ("envctl.toml", &project_file(&registries, cache)),
    ];
    let project = Project::of(lab, Some("python-project.tar.gz"), &more);
    let poison = "echo 'raise SystemExit(3)' > .venv/lib/python3.11/site-packages/werkzeug/__init__.py";
    let entries = made_once_and_used_everywhere(&project, SUITE, poison, "requirements.txt");
    assert!(entries > 500, "{entries}");
}
