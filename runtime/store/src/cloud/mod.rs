//! `s3://BUCKET/PATH`, `gs://BUCKET/PATH` and `az://CONTAINER/PATH`: objects of a cloud, or of what speaks as one.
//!
//! ```text
//!   Cloud ──┬─ s3, gs, az   what the environment says, to a client of the service
//!           ├─ read         one object, by parts at once, all of one version
//!           ├─ stream       the same one part after another, as it is asked for
//!           ├─ folder       files, the one that lists them last, behind a mark while they are incomplete
//!           ├─ refusal      what the service says, to a sentence
//!           └─ transport    connections, their time limits, the authorities that are trusted
//! ```
//!
//! The services' clients are the crate `object_store`'s, which also signs, renews credentials, and tries again what may
//! pass.

mod az;
mod folder;
mod gs;
mod read;
mod refusal;
mod s3;
mod stream;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt, RetryConfig};

use crate::StoreError;
use crate::content::Content;
use crate::credentials::Variables;
use crate::runtime::threads;
use crate::scheme::{Scheme, Target, has_userinfo};
use refusal::Trouble;

/// One service, or what speaks as it.
pub(crate) struct Cloud {
    /// What it calls the first part of a URI.
    place: &'static str,
    /// What the URI looks like.
    form: &'static str,
    /// Variables of the environment that are no credentials: they count beside those of a Secret. Names for
    /// the same thing stand together.
    settings: &'static [&'static [&'static str]],
    connect: fn(&Variables, &str) -> object_store::Result<Arc<dyn ObjectStore>>,
}

/// Amazon's, and the many that speak its protocol.
pub(crate) static S3: Cloud = Cloud {
    place: "bucket",
    form: "s3://BUCKET/PATH",
    settings: s3::SETTINGS,
    connect: s3::connect,
};
/// Google's.
pub(crate) static GS: Cloud = Cloud {
    place: "bucket",
    form: "gs://BUCKET/PATH",
    settings: gs::SETTINGS,
    connect: gs::connect,
};
/// Azure's.
pub(crate) static AZ: Cloud = Cloud {
    place: "container",
    form: "az://CONTAINER/PATH",
    settings: az::SETTINGS,
    connect: az::connect,
};

/// How often a request is tried again, as `retry.rs` has it for web servers: an unreachable service costs about 20 s.
/// The time is that of one part of an object, however slow the line.
fn patience() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(120),
    }
}

/// An object or a folder, and who can be asked for it.
struct Opened {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl Cloud {
    fn open_store(&self, target: &Target<'_>) -> Result<Opened, StoreError> {
        let malformed = |reason: String| StoreError::Malformed {
            uri: target.shown(),
            reason,
        };
        if has_userinfo(target.rest) {
            return Err(malformed(format!(
                "a key in a URI is told to everyone who reads it: write {} and put the key into a Secret that \
                 credentialsRef names",
                self.form
            )));
        }
        let (bucket, path) = target.rest.split_once('/').unwrap_or((target.rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.$".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(malformed(format!("write {}", self.form)));
        }
        let path = Path::parse(path)
            .map_err(|_| malformed("a path has no empty part, no '.' and no '..' in it".to_owned()))?;
        let place = target.uri[..target.uri.len() - target.rest.len() + bucket.len()].to_owned();
        let store = target.connections.buckets.get(&place, || {
            let variables = target.variables(self.settings);
            (self.connect)(&variables, bucket).map_err(|error| StoreError::Unconfigured {
                uri: target.shown(),
                reason: refusal::told(&error),
            })
        })?;
        Ok(Opened { store, path })
    }

    fn run<T>(
        &self,
        target: &Target<'_>,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, StoreError> {
        threads(target)?
            .block_on(work)
            .map_err(|trouble| trouble.told(target, self.place))
    }
}

impl Scheme for Cloud {
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        let work = async { found(&*store, &path, read::read(&*store, &path, limit).await).await };
        self.run(target, work)
    }

    fn open<'a>(&self, target: &Target<'a>, limit: u64) -> Result<Content<'a>, StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        let work = async { found(&*store, &path, read::begin(&*store, &path, limit).await).await };
        let begun = self.run(target, work)?;
        let size = begun.size();
        let parts = begun.parts(store, path, threads(target)?);
        Ok(Content::new(
            size,
            stream::Stream::new(size, *target, self.place, parts),
        ))
    }

    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        self.run(target, async {
            if path.as_ref() != "" {
                match store.head(&path).await {
                    Ok(_) => return Ok(true),
                    // A refusal is in its own words only where an answer has a body, as that to a list has.
                    Err(error) if refusal::is_absent(&error) || refusal::is_denied(&error) => {}
                    Err(error) => return Err(Trouble::Service(error)),
                }
            }
            let first = store.list(Some(&path)).next().await;
            Ok(first.transpose().map_err(place_or)?.is_some())
        })
    }

    fn write_folder(
        &self,
        target: &Target<'_>,
        name: &str,
        files: &BTreeMap<String, Vec<u8>>,
        record: &str,
    ) -> Result<(), StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        self.run(target, folder::write(&*store, &path, name, files, record))
    }

    fn grow_file(&self, target: &Target<'_>, bytes: &[u8], _known: usize) -> Result<(), StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        self.run(target, folder::put(&*store, &path, bytes))
    }

    fn folders(&self, target: &Target<'_>) -> Result<Vec<String>, StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        self.run(target, folder::names(&*store, &path))
    }

    fn files(&self, target: &Target<'_>) -> Result<Option<Vec<String>>, StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        self.run(target, folder::files(&*store, &path))
    }

    fn remove_folder(&self, target: &Target<'_>, name: &str) -> Result<(), StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        self.run(target, folder::remove(&*store, &path, name))
    }

    fn tidy(&self, target: &Target<'_>, age: Duration) -> Result<(), StoreError> {
        let Opened { store, path } = self.open_store(target)?;
        self.run(target, folder::tidy(&*store, &path, age))
    }
}

/// What was read. Whether the object or its bucket is absent is answered alike: only a look into the bucket tells.
async fn found<T>(store: &dyn ObjectStore, path: &Path, read: Result<T, Trouble>) -> Result<T, Trouble> {
    if let Err(Trouble::Service(error)) = &read
        && refusal::is_absent(error)
    {
        store
            .list(Some(path))
            .next()
            .await
            .transpose()
            .map_err(place_or)?;
    }
    read
}

/// A list is empty where nothing is, and absent where its bucket is.
fn place_or(error: object_store::Error) -> Trouble {
    match refusal::is_absent(&error) {
        true => Trouble::NoPlace,
        false => Trouble::Service(error),
    }
}
