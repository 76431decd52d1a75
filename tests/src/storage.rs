//! The storage class of a kind node, read out of kind's source, where the official node images get
//! it from too.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

const FILE: &str = "pkg/build/nodeimage/const_storage.go";

/// What a node applies to have a default storage class.
pub(crate) struct Storage {
    /// The manifest of local-path-provisioner.
    pub(crate) manifest: String,
    /// The images that it names.
    pub(crate) images: Vec<String>,
}

impl Storage {
    /// Reads it from the source of kind.
    pub(crate) fn from_kind(source: &Path) -> Result<Self> {
        let file = source.join(FILE);
        let text = fs::read_to_string(&file).map_err(Error::file("read", &file))?;
        Self::parse(&text).ok_or_else(|| {
            Error::Unmet(format!(
                "{FILE} of kind no longer holds a storage manifest: adapt tests/src/storage.rs to it"
            ))
        })
    }

    /// The manifest is a raw string of Go, with the images' names concatenated in by constant.
    fn parse(source: &str) -> Option<Self> {
        let constant = |name: &str| {
            let (_, rest) = source.split_once(&format!("const {name} = \""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let (_, rest) = source.split_once("const defaultStorageManifest = `")?;
        let mut storage = Self {
            manifest: String::new(),
            images: Vec::new(),
        };
        for (index, piece) in rest.split('`').enumerate() {
            if index % 2 == 0 {
                storage.manifest.push_str(piece);
                continue;
            }
            // What follows the last backquote is other code.
            let concatenated = piece
                .strip_prefix(" + ")
                .and_then(|piece| piece.strip_suffix(" + "));
            let Some(name) = concatenated else { break };
            let image = constant(name)?;
            storage.manifest.push_str(&image);
            if !storage.images.contains(&image) {
                storage.images.push(image);
            }
        }
        Some(storage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_put_in_and_listed_once() {
        let source = "const a = \"img:1\"\nconst defaultStorageManifest = `\nimage: ` + a + `\nhelper: ` + a + `\nend\n`\nvar b = a\n";
        let storage = Storage::parse(source).unwrap();
        assert_eq!(storage.manifest, "\nimage: img:1\nhelper: img:1\nend\n");
        assert_eq!(storage.images, ["img:1"]);
    }
}
