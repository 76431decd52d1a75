//! The same chart as a PNG.

use std::fs;
use std::path::Path;

use sconce_chart::{Line, Panel};
use sconce_contract::History;

use super::super::PluginError;
use super::terminal::points;

/// Writes the picture.
pub(super) fn write(history: &History, title: &str, path: &Path) -> Result<(), PluginError> {
    let failed = |said: String| PluginError::File {
        path: path.display().to_string(),
        said,
    };
    let lines = points(history)
        .into_iter()
        .zip(["loss", "validation loss"])
        .map(|(points, name)| Line {
            name: name.to_owned(),
            points,
        });
    let panel = Panel {
        title: title.to_owned(),
        y: "loss".to_owned(),
        lines: lines.collect(),
    };
    let bytes = sconce_chart::png(&[panel]).map_err(|error| failed(error.to_string()))?;
    fs::write(path, bytes).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use sconce_contract::history::Series;

    use super::*;

    #[test]
    fn a_picture_of_the_curves_is_written() {
        let series = Series {
            from: 0,
            every: 10,
            last: 40,
            values: vec![1.0, 0.5, 0.3, 0.2],
        };
        let both = History {
            loss: series.clone(),
            validation_loss: series.clone(),
        };
        let one = History {
            loss: series,
            validation_loss: Series::default(),
        };
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [both, one].map(|history| {
            let path = folder.path().join("loss.png");
            write(&history, "ml/tumour: loss over steps", &path).unwrap();
            fs::read(&path).unwrap()
        });
        assert!(first.starts_with(b"\x89PNG\r\n") && first != second);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = write(&History::default(), "x", Path::new("/nowhere/loss.png"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/nowhere/loss.png cannot be written"),
            "{error}"
        );
    }
}
