//! `pvc://CLAIM/PATH`: a file on a PersistentVolumeClaim, found where the plan says that it is mounted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::StoreError;
use crate::confined::Confined;
use crate::content::Content;
use crate::folder;
use crate::listing;
use crate::scheme::{Scheme, Target};

pub(crate) struct Pvc;

fn confined<'a>(target: &Target<'a>) -> Result<Confined<'a>, StoreError> {
    let (claim, path) = target.rest.split_once('/').unwrap_or((target.rest, ""));
    if claim.is_empty() {
        let reason = "write pvc://CLAIM/PATH".into();
        return Err(StoreError::Malformed {
            uri: target.shown(),
            reason,
        });
    }
    Confined::mounted(*target, &format!("pvc://{claim}"), path)
}

impl Scheme for Pvc {
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError> {
        confined(target)?.read(limit)
    }

    fn open<'a>(&self, target: &Target<'a>, limit: u64) -> Result<Content<'a>, StoreError> {
        confined(target)?.open(limit).map(Content::of_file)
    }

    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError> {
        confined(target)?.exists()
    }

    fn write_folder(
        &self,
        target: &Target<'_>,
        name: &str,
        files: &BTreeMap<String, Vec<u8>>,
        _record: &str,
    ) -> Result<(), StoreError> {
        folder::write(&confined(target)?, name, files)
    }

    fn grow_file(&self, target: &Target<'_>, bytes: &[u8], known: usize) -> Result<(), StoreError> {
        confined(target)?.grow(bytes, known)
    }

    fn folders(&self, target: &Target<'_>) -> Result<Vec<String>, StoreError> {
        folder::names(&confined(target)?)
    }

    fn files(&self, target: &Target<'_>) -> Result<Option<Vec<String>>, StoreError> {
        listing::files(&confined(target)?)
    }

    fn remove_folder(&self, target: &Target<'_>, name: &str) -> Result<(), StoreError> {
        folder::remove(&confined(target)?, name)
    }

    fn tidy(&self, target: &Target<'_>, age: Duration) -> Result<(), StoreError> {
        folder::tidy(&confined(target)?, age)
    }
}
