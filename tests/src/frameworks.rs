//! Frameworks of Python that Sconce is measured against and understood by, each in an environment of its own: installed
//! from the registry that pip knows, at the versions in `tests/frameworks`, a minute or two once.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cache::{self, Key};
use crate::{Error, Result, packages, process};

/// Packages that are installed together.
pub struct Framework {
    /// Name in the cache.
    name: &'static str,
    /// What to expect with an empty cache.
    label: &'static str,
    /// Every package with its version.
    requirements: &'static str,
}

/// PyTorch, with pandas, safetensors and clients of inference servers. The registry's build for Linux brings CUDA.
pub const PYTORCH: Framework = Framework {
    name: "pytorch",
    label: "installing PyTorch 2.14.1 (once; 5 GB, about 2 minutes)",
    requirements: include_str!("../frameworks/pytorch.txt"),
};

/// Keras on TensorFlow for processors, with pandas.
pub const KERAS: Framework = Framework {
    name: "keras",
    label: "installing Keras 3.15.1 on TensorFlow 2.21.0 (once; 2 GB, about 1 minute)",
    requirements: include_str!("../frameworks/keras.txt"),
};

/// TensorBoard, MLflow with its server, and safetensors: where people look at curves and models.
pub const CURVES: Framework = Framework {
    name: "curves",
    label: "installing TensorBoard 2.21.0 and MLflow 3.17.2 (once; 900 MB, about 1 minute)",
    requirements: include_str!("../frameworks/curves.txt"),
};

/// pandas, polars and pyarrow: how others read a table. Only `make bench-load` needs it.
pub const TABLES: Framework = Framework {
    name: "tables",
    label: "installing pandas 3.1.1 and polars 2.1.0 (once; 400 MB, about 20 seconds)",
    requirements: include_str!("../frameworks/tables.txt"),
};

impl Framework {
    /// Its interpreter.
    ///
    /// # Errors
    /// When there is no Python and none can be installed, or pip fails: the registry does not answer, or has no build for
    /// this machine's version of Python.
    pub fn python(&self) -> Result<PathBuf> {
        let can_make = || process::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]));
        if !can_make() {
            packages::install("an environment of Python", &["python3-venv"])?;
        }
        let version = process::output(Command::new("python3").arg("--version"))?;
        let key = Key::new(self.name).text(self.requirements).text(&version);
        let folder = cache::entry(&key, |folder| {
            let requirements = folder.join("requirements.txt");
            std::fs::write(&requirements, self.requirements).map_err(Error::file("write", &requirements))?;
            process::output(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
            // As a module: the environment is renamed once it is whole, and programs in it name their interpreter.
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-cache-dir",
                "--requirement",
            ]);
            process::run(self.label, pip.arg(requirements))
        })?;
        Ok(folder.join("bin/python"))
    }

    /// Runs a program of `tests/frameworks` with the question on its standard input; what it writes is the answer.
    ///
    /// # Errors
    /// When it fails, with what it said, or answers what is not JSON.
    pub fn ask(&self, program: &str, question: &Value) -> Result<Value> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("frameworks")
            .join(program);
        let failed = |problem: String| Error::Unmet(format!("{program}: {problem}"));
        let mut child = Command::new(self.python()?)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let text = question.to_string();
        // A thread of its own: neither side may wait for the other with a full pipe.
        let writer = child
            .stdin
            .take()
            .map(|mut stdin| std::thread::spawn(move || stdin.write_all(text.as_bytes())));
        let output = child
            .wait_with_output()
            .map_err(|error| failed(error.to_string()))?;
        let _ = writer.map(std::thread::JoinHandle::join);
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(format!("{error}: {}", String::from_utf8_lossy(&output.stdout))))
    }
}

/// Installs those that `make interop` needs.
///
/// # Errors
/// When one cannot be installed.
pub fn prepare() -> Result<()> {
    [PYTORCH, KERAS, CURVES]
        .iter()
        .try_for_each(|framework| framework.python().map(drop))
}
