//! Folders that are seen whole or not at all, where there is neither a folder nor a way to rename one.
//!
//! ```text
//!   PARENT/.NAME.incomplete      there while files are written or removed: who lists the parent leaves NAME out
//!   PARENT/NAME/FILE …
//!   PARENT/NAME/RECORD           written last: who reads it first finds all that it lists
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::{Path, PathPart};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};

use super::place_or;
use super::read;
use super::refusal::{Trouble, is_absent, is_denied, is_over, is_silent};

/// Larger files are written by parts of this size, of which Amazon takes 10,000.
const PART: usize = 16 << 20;
/// Parts of a file, or files to remove, at once.
const AT_ONCE: usize = 4;
/// End of a mark's name.
const INCOMPLETE: &str = ".incomplete";

/// Writes the folder `name` under the parent, `record` last.
pub(super) async fn write(
    store: &dyn ObjectStore,
    parent: &Path,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
    record: &str,
) -> Result<(), Trouble> {
    let folder = child(parent, name);
    let mark = mark(parent, name);
    let found = files_in(store, &folder).await?;
    if !found.is_empty() {
        if !is_there(store, &mark).await? {
            return same(store, &folder, found, files).await;
        }
        // A writer that crashed, or one that is at work on the same files.
        let others = found.into_iter().map(|file| file.location);
        let others = others.filter(|file| !files.contains_key(file.filename().unwrap_or_default()));
        remove_all(store, others).await?;
    }
    store.put(&mark, PutPayload::new()).await.map_err(place_or)?;
    let (last, others): (Vec<_>, Vec<_>) = files.iter().partition(|(file, _)| *file == record);
    for (file, bytes) in others.into_iter().chain(last) {
        put(store, &child(&folder, file), bytes).await?;
    }
    remove_one(store, &mark).await
}

/// Names of the folders in the parent that are whole.
pub(super) async fn names(store: &dyn ObjectStore, parent: &Path) -> Result<Vec<String>, Trouble> {
    let listed = store.list_with_delimiter(Some(parent)).await.map_err(place_or)?;
    let marked: BTreeSet<_> = listed
        .objects
        .iter()
        .filter_map(|file| marks(&file.location))
        .collect();
    let names = listed.common_prefixes.iter().filter_map(Path::filename);
    let whole = names.filter(|name| !name.starts_with('.') && !marked.contains(name));
    Ok(whole.map(str::to_owned).collect())
}

/// Removes the folder `name` in the parent.
pub(super) async fn remove(store: &dyn ObjectStore, parent: &Path, name: &str) -> Result<(), Trouble> {
    let files = files_in(store, &child(parent, name)).await?;
    if files.is_empty() {
        return Ok(());
    }
    let mark = mark(parent, name);
    store.put(&mark, PutPayload::new()).await?;
    remove_all(store, files.into_iter().map(|file| file.location)).await?;
    remove_one(store, &mark).await
}

/// Removes folders that have been incomplete for longer than `age`. An empty folder is none: there is no more to do.
pub(super) async fn tidy(store: &dyn ObjectStore, parent: &Path, age: Duration) -> Result<(), Trouble> {
    let listed = store.list_with_delimiter(Some(parent)).await.map_err(place_or)?;
    for file in listed.objects {
        let since = file.last_modified.timestamp_millis();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let old = now.saturating_sub(Duration::from_millis(u64::try_from(since).unwrap_or(0)));
        if let Some(name) = marks(&file.location)
            && old >= age
        {
            tracing::info!(folder = name, "removing a folder that a crash left incomplete");
            let files = files_in(store, &child(parent, name)).await?;
            remove_all(store, files.into_iter().map(|file| file.location)).await?;
            remove_one(store, &file.location).await?;
        }
    }
    Ok(())
}

fn child(parent: &Path, name: &str) -> Path {
    parent.clone().join(PathPart::from(name))
}

fn mark(parent: &Path, name: &str) -> Path {
    child(parent, &format!(".{name}{INCOMPLETE}"))
}

/// Name of the folder that a file marks as incomplete.
fn marks(file: &Path) -> Option<&str> {
    file.filename()?.strip_prefix('.')?.strip_suffix(INCOMPLETE)
}

/// Paths of all objects below the folder, in order, without those that only mark a folder; nothing where there is none,
/// or an object has that very name.
pub(super) async fn files(store: &dyn ObjectStore, folder: &Path) -> Result<Option<Vec<String>>, Trouble> {
    if folder.as_ref() != "" {
        match store.head(folder).await {
            Ok(_) => return Ok(None),
            // A refusal has no words here: the list's has.
            Err(error) if is_absent(&error) || is_denied(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let all = without_markers(files_in(store, folder).await?);
    let all = without_empty_folders(store, all).await?;
    let below = |file: &ObjectMeta| {
        let parts = file.location.prefix_match(folder)?;
        let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    };
    let mut paths: Vec<String> = all
        .iter()
        .filter_map(below)
        .filter(|path| !path.is_empty())
        .collect();
    paths.sort_unstable();
    Ok((!paths.is_empty()).then_some(paths))
}

/// The objects without those that mark a folder, as consoles and Hadoop leave them: empty ones named `FOLDER/`. The
/// client takes the slash away, and no object has the name that is left.
fn without_markers(mut files: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
    let above = |file: &ObjectMeta| std::iter::successors(file.location.parent(), Path::parent);
    let folders: BTreeSet<Path> = files.iter().flat_map(above).collect();
    files.retain(|file| file.size > 0 || !folders.contains(&file.location));
    files
}

/// The objects without those that mark an empty folder. Only a look tells such a marker from an empty file, so what is
/// not empty costs none.
async fn without_empty_folders(
    store: &dyn ObjectStore,
    files: Vec<ObjectMeta>,
) -> Result<Vec<ObjectMeta>, Trouble> {
    let mut found = Vec::with_capacity(files.len());
    for file in files {
        if file.size == 0 {
            match store.head(&file.location).await {
                Err(error) if is_absent(&error) => continue,
                // A refusal has no words here: that of reading has.
                Err(error) if !is_denied(&error) => return Err(error.into()),
                _ => {}
            }
        }
        found.push(file);
    }
    Ok(found)
}

async fn files_in(store: &dyn ObjectStore, folder: &Path) -> Result<Vec<ObjectMeta>, Trouble> {
    store.list(Some(folder)).try_collect().await.map_err(place_or)
}

async fn is_there(store: &dyn ObjectStore, file: &Path) -> Result<bool, Trouble> {
    match store.head(file).await {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes one object, in the place of one that is there.
pub(super) async fn put(store: &dyn ObjectStore, file: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    if bytes.len() <= PART {
        store.put(file, Bytes::copy_from_slice(bytes).into()).await?;
        return Ok(());
    }
    let mut upload = store.put_multipart(file).await?;
    let mut rest = bytes;
    let parts = std::iter::from_fn(|| {
        let (part, after) = rest.split_at(rest.len().min(PART));
        rest = after;
        (!part.is_empty()).then_some(part)
    });
    let mut sent = Ok(());
    for some in parts.collect::<Vec<_>>().chunks(AT_ONCE) {
        let some = some
            .iter()
            .map(|part| upload.put_part(Bytes::copy_from_slice(part).into()));
        sent = futures::future::try_join_all(some.collect::<Vec<_>>())
            .await
            .map(drop);
        if sent.is_err() {
            break;
        }
    }
    let ended = match sent {
        Ok(()) => upload.complete().await.map(drop),
        Err(error) => Err(error),
    };
    let Err(error) = ended else { return Ok(()) };
    // Where the answer to the completion was lost, the client asks again for what is done.
    if is_over(&error) && has(store, file, bytes).await {
        return Ok(());
    }
    // The parts would be paid for until somebody looks.
    if let Err(error) = upload.abort().await {
        tracing::warn!(%error, "an upload that failed could not be withdrawn");
    }
    Err(error.into())
}

/// Whether the object is there and has exactly these bytes, as far as it can be read.
async fn has(store: &dyn ObjectStore, file: &Path, bytes: &[u8]) -> bool {
    let there = read::read(store, file, bytes.len() as u64).await;
    there.is_ok_and(|there| there == bytes)
}

/// Fine where the folder has exactly these files.
async fn same(
    store: &dyn ObjectStore,
    folder: &Path,
    found: Vec<ObjectMeta>,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), Trouble> {
    let conflict = || Trouble::Conflict(folder.filename().unwrap_or_default().to_owned());
    if found.len() != files.len() {
        return Err(conflict());
    }
    for file in found {
        let name = file
            .location
            .filename()
            .filter(|name| file.location == child(folder, name));
        let bytes = name.and_then(|name| files.get(name)).ok_or_else(conflict)?;
        let length = bytes.len() as u64;
        if file.size != length || read::read(store, &file.location, length).await? != *bytes {
            return Err(conflict());
        }
    }
    Ok(())
}

async fn remove_all(store: &dyn ObjectStore, files: impl Iterator<Item = Path>) -> Result<(), Trouble> {
    futures::stream::iter(files)
        .map(|file| async move { remove_one(store, &file).await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn remove_one(store: &dyn ObjectStore, file: &Path) -> Result<(), Trouble> {
    let deleted = match store.delete(file).await {
        // The client does not repeat a deletion that had no answer.
        Err(error) if is_silent(&error) => store.delete(file).await,
        deleted => deleted,
    };
    match deleted {
        Err(error) if !is_absent(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions, PutOptions,
        PutResult, Result, UploadPart,
    };

    use super::*;

    /// A bucket that answers each completion as one that comes again.
    #[derive(Debug)]
    struct Repeated {
        bucket: InMemory,
        /// Whether the upload was completed before.
        completes: bool,
    }

    impl std::fmt::Display for Repeated {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Repeated")
        }
    }

    #[async_trait]
    impl ObjectStore for Repeated {
        async fn put_opts(&self, to: &Path, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
            self.bucket.put_opts(to, bytes, options).await
        }

        async fn put_multipart_opts(
            &self,
            to: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            let upload = self.bucket.put_multipart_opts(to, options).await?;
            Ok(Box::new(RepeatedUpload {
                upload,
                completes: self.completes,
            }))
        }

        async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
            self.bucket.get_opts(from, options).await
        }

        fn delete_stream(&self, files: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.bucket.delete_stream(files)
        }

        fn list(&self, folder: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.bucket.list(folder)
        }

        async fn list_with_delimiter(&self, folder: Option<&Path>) -> Result<ListResult> {
            self.bucket.list_with_delimiter(folder).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.bucket.copy_opts(from, to, options).await
        }
    }

    #[derive(Debug)]
    struct RepeatedUpload {
        upload: Box<dyn MultipartUpload>,
        completes: bool,
    }

    #[async_trait]
    impl MultipartUpload for RepeatedUpload {
        fn put_part(&mut self, bytes: PutPayload) -> UploadPart {
            self.upload.put_part(bytes)
        }

        async fn complete(&mut self) -> Result<PutResult> {
            if self.completes {
                self.upload.complete().await?;
            }
            let said = "Server returned non-2xx status code: 404: <Error><Code>NoSuchUpload</Code></Error>";
            Err(object_store::Error::NotFound {
                path: "t/file".to_owned(),
                source: said.into(),
            })
        }

        async fn abort(&mut self) -> Result<()> {
            self.upload.abort().await
        }
    }

    #[tokio::test]
    async fn an_upload_whose_completion_was_heard_but_not_answered_is_fine() {
        let bytes = vec![7; PART + 9];
        for completes in [true, false] {
            let bucket = InMemory::new();
            let store = Repeated { bucket, completes };
            let written = put(&store, &Path::from("t/file"), &bytes).await;
            assert_eq!(written.is_ok(), completes, "{written:?}");
        }
    }

    #[test]
    fn an_empty_object_with_others_below_it_marks_a_folder() {
        let object = |(path, size): (&str, u64)| ObjectMeta {
            location: Path::from(path),
            last_modified: Default::default(),
            size,
            e_tag: None,
            version: None,
        };
        let all = [
            ("t", 0),
            ("t/year", 0),
            ("t/year=2024", 0),
            ("t/year=2024/part-0.parquet", 9),
            ("t/both", 7),
            ("t/both/part-0.parquet", 9),
        ];
        let left = without_markers(all.into_iter().map(object).collect());
        let left: Vec<&str> = left.iter().map(|file| file.location.as_ref()).collect();
        assert_eq!(
            left,
            [
                "t/year",
                "t/year=2024/part-0.parquet",
                "t/both",
                "t/both/part-0.parquet"
            ]
        );
    }
}
