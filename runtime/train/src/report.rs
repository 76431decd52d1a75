//! Leaving the report where the kubelet finds it.

use std::{
    convert::Infallible,
    fs,
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
};

use sconce_contract::{Report, report::REPORT_PATH};

/// Where the report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file.
    File(PathBuf),
    /// The standard output.
    Stdout,
    /// Nowhere but the log.
    None,
}

impl FromStr for Destination {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "-" => Destination::Stdout,
            "none" => Destination::None,
            path => Destination::File(path.into()),
        })
    }
}

impl Destination {
    /// Kubernetes' termination log where there is one, else nowhere: the process is run by hand.
    pub fn found() -> Self {
        match fs::exists(REPORT_PATH) {
            Ok(true) => Destination::File(REPORT_PATH.into()),
            _ => Destination::None,
        }
    }

    /// Writes the report there.
    ///
    /// # Errors
    /// It could not be written: nobody learns of what was done.
    pub fn write(&self, report: &Report) -> io::Result<()> {
        let json = report.to_json();
        match self {
            Destination::File(path) => fs::write(path, json),
            Destination::Stdout => writeln!(io::stdout(), "{json}"),
            Destination::None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_named() {
        for (text, expected) in [
            ("-", Destination::Stdout),
            ("none", Destination::None),
            (
                "/dev/termination-log",
                Destination::File("/dev/termination-log".into()),
            ),
        ] {
            assert_eq!(text.parse::<Destination>(), Ok(expected));
        }
    }
}
