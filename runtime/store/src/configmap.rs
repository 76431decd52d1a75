//! `configmap://NAME/KEY`: a key of a ConfigMap, found where the plan says that it is mounted.

use crate::StoreError;
use crate::confined::Confined;
use crate::content::Content;
use crate::scheme::{Scheme, Target};

pub(crate) struct ConfigMap;

fn confined<'a>(target: &Target<'a>) -> Result<Confined<'a>, StoreError> {
    match target.rest.split_once('/') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() && !key.contains('/') => {
            Confined::mounted(*target, &format!("configmap://{name}"), key)
        }
        _ => {
            let reason = "write configmap://NAME/KEY, where the key has no slash".into();
            Err(StoreError::Malformed {
                uri: target.shown(),
                reason,
            })
        }
    }
}

impl Scheme for ConfigMap {
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
