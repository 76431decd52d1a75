//! `oci://REGISTRY/REPOSITORY:TAG` or `…@sha256:HEX`: the files of an image, found where the plan says that it is
//! mounted.

use crate::StoreError;
use crate::confined::Confined;
use crate::content::Content;
use crate::scheme::{Scheme, Target};

pub(crate) struct Oci;

/// A reference has slashes of its own: only the table of mounts tells where it ends.
fn confined<'a>(target: &Target<'a>) -> Result<Confined<'a>, StoreError> {
    let found = target.mounts.iter().find_map(|mount| {
        let rest = target.uri.strip_prefix(mount.uri.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some((mount.uri.as_str(), rest))
    });
    match found {
        Some((mount, rest)) => Confined::mounted(*target, mount, rest.trim_start_matches('/')),
        None => Err(StoreError::NotMounted {
            uri: target.shown(),
            mount: target.shown(),
        }),
    }
}

impl Scheme for Oci {
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError> {
        confined(target)?.read(limit)
    }

    fn open<'a>(&self, target: &Target<'a>, limit: u64) -> Result<Content<'a>, StoreError> {
        confined(target)?.open(limit).map(Content::of_file)
    }

    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError> {
        confined(target)?.exists()
    }
}
