//! Stores of objects as processes of this machine: each is a real one, built from source or taken from its registry.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sconce_store::{Credentials, Store};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::cache::{self, Key};
use crate::tools::{FAKE_GCS_SERVER, GOFAKES3, VERSITYGW};
use crate::wait::until;
use crate::{Error, Result, azure, hadoop, ports, process};

/// Who may do anything on the S3 server.
pub const KEY: (&str, &str) = ("sconce", "sconce-secret");
const AZURITE: &str = "3.37.0";
/// Where the S3 server says that it is.
pub const REGION: &str = "eu-central-1";

/// A running server; it ends when this is dropped, and when the test's process ends in any other way.
pub struct Cloud {
    /// Its address, such as `127.0.0.1:9000`.
    pub address: String,
    guard: Child,
    log: PathBuf,
    folder: TempDir,
}

impl Cloud {
    /// One that speaks Amazon's S3, with a bucket `models`.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub async fn s3() -> Result<Self> {
        let program = installed(|| VERSITYGW.path()).await?;
        let cloud = Self::start(|address, folder| {
            let mut command = Command::new(program);
            command
                .args([
                    "--port", address, "--access", KEY.0, "--secret", KEY.1, "--region", REGION,
                ])
                // With accounts of its own, it answers a stranger as Amazon does.
                .arg("--iam-dir")
                .arg(folder.join("accounts"))
                .args(["--quiet", "posix", "--sidecar"])
                .args([folder.join("attributes"), folder.join("buckets")]);
            command
        })
        .await?;
        Ok(cloud)
    }

    /// One that speaks Google's as far as reading goes, with a bucket `models` that holds these objects: it takes none in
    /// the way in which Google's own takes them.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub async fn gcs(objects: &[(&str, &[u8])]) -> Result<Self> {
        let program = installed(|| FAKE_GCS_SERVER.path()).await?;
        let seed = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
        for (name, bytes) in objects {
            let file = seed.path().join("models").join(name);
            let parent = file.parent().unwrap_or(&file);
            std::fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
            std::fs::write(&file, bytes).map_err(Error::file("write", &file))?;
        }
        let cloud = Self::start(|address, _| {
            let (host, port) = address.rsplit_once(':').unwrap_or_default();
            let mut command = Command::new(program);
            command
                .args([
                    "-scheme", "http", "-host", host, "-port", port, "-backend", "memory",
                ])
                .args(["-public-host", host, "-data"])
                .arg(seed.path());
            command
        })
        .await?;
        // It listens before it has read them.
        for (name, _) in objects {
            until(&format!("{name} is there"), async || {
                let store = store_by(&gcs_keys(&cloud.address), &[]);
                let uri = format!("gs://models/{name}");
                let there = tokio::task::spawn_blocking(move || store.exists(&uri)).await;
                there.ok()?.ok().filter(|there| *there)
            })
            .await?;
        }
        Ok(cloud)
    }

    /// One that Google's client can write to, with an empty bucket `models`. What the client says to Google is the XML
    /// interface, which Google has so that clients of Amazon's can be taken: put, get, head, delete, a list of version 2,
    /// and uploads by parts.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub async fn gcs_to_write() -> Result<Self> {
        let program = installed(|| GOFAKES3.path()).await?;
        Self::start(|address, _| {
            let mut command = Command::new(program);
            command.args(["-backend", "memory", "-initialbucket", "models", "-host", address]);
            command
        })
        .await
    }

    /// One that speaks Azure's, with a container `models`.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub async fn azure() -> Result<Self> {
        let program = installed(azurite).await?;
        let cloud = Self::start(|address, folder| {
            let (host, port) = address.rsplit_once(':').unwrap_or_default();
            let mut command = Command::new("node");
            command
                .arg(program)
                .args([
                    "--blobHost",
                    host,
                    "--blobPort",
                    port,
                    "--silent",
                    "--skipApiVersionCheck",
                    "--location",
                ])
                .arg(folder.join("buckets"));
            command
        })
        .await?;
        azure::create_container(&cloud.address, "models").await?;
        Ok(cloud)
    }

    /// A Hadoop cluster whose superuser is who runs the test, with a folder `/small` that has room for 3 MiB.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub async fn hadoop() -> Result<Self> {
        let libraries = installed(hadoop::libraries).await?;
        let cloud = Self::start(|address, folder| {
            let (_, port) = address.rsplit_once(':').unwrap_or_default();
            hadoop::command(&libraries, port, folder)
        })
        .await?;
        // The NameNode listens before it has DataNodes.
        let ready = until("the Hadoop cluster is ready", async || {
            let uri = format!("hdfs://{}/ready", cloud.address);
            let there = tokio::task::spawn_blocking(move || Store::default().exists(&uri)).await;
            there.ok()?.ok().filter(|there| *there)
        });
        match ready.await {
            Ok(_) => Ok(cloud),
            Err(error) => Err(Error::Unmet(format!("{error}; it said last:\n{}", cloud.tail()))),
        }
    }

    async fn start(command: impl FnOnce(&str, &Path) -> Command) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
        for part in ["accounts", "attributes", "buckets/models"] {
            let part = folder.path().join(part);
            std::fs::create_dir_all(&part).map_err(Error::file("create", &part))?;
        }
        let address = format!("127.0.0.1:{}", ports::free()?);
        let command = command(&address, folder.path());
        let log = folder.path().join("log");
        let file = File::create(&log).map_err(Error::file("create", &log))?;
        let errors = file.try_clone().map_err(Error::file("open", &log))?;
        let guard = Command::new("sh")
            .args(["-c", "\"$@\" & cat > /dev/null; kill -9 $!", "guard"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|source| Error::Start {
                command: format!("{command:?}"),
                source,
            })?;
        let cloud = Self {
            address,
            guard,
            log,
            folder,
        };
        let listens = until("the store listens", async || {
            TcpStream::connect(&cloud.address).await.ok()
        });
        match listens.await {
            Ok(_) => Ok(cloud),
            Err(error) => Err(Error::Unmet(format!("{error}; it said last:\n{}", cloud.tail()))),
        }
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        process::tail_of_path(&self.log)
    }

    /// The file behind an object of the S3 server.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("buckets").join(path)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // The guard reads its standard input to the end, and kills the server then.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// What a Secret for the S3 server at that address has.
#[must_use]
pub fn s3_keys(address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", KEY.0.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", KEY.1.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
    ]
}

/// What a Secret for Google's server at that address has.
#[must_use]
pub fn gcs_keys(address: &str) -> Vec<(&'static str, String)> {
    vec![("STORAGE_EMULATOR_HOST", address.to_owned())]
}

/// What a Secret for Azure's server at that address has.
#[must_use]
pub fn azure_keys(address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AZURE_STORAGE_ACCOUNT_NAME", azure::ACCOUNT.0.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", azure::ACCOUNT.1.to_owned()),
        (
            "AZURE_STORAGE_ENDPOINT",
            format!("http://{address}/{}", azure::ACCOUNT.0),
        ),
    ]
}

/// A store by such keys, some of them changed.
#[must_use]
pub fn store_by(keys: &[(&str, String)], changes: &[(&str, &str)]) -> Store {
    let kept = keys
        .iter()
        .filter(|(key, _)| !changes.iter().any(|(changed, _)| changed == key))
        .map(|(key, value)| (*key, value.as_str()));
    Store::default().with_credentials(Credentials::of(kept.chain(changes.iter().copied())))
}

/// Azurite's program for blobs, from its registry.
fn azurite() -> Result<PathBuf> {
    let missing = |program: &str| Error::Missing {
        program: program.to_owned(),
        purpose: "to run Azurite, which stands for Azure".to_owned(),
        remedy: "install Node.js 20 or newer with npm (on Debian: apt-get install nodejs npm)".to_owned(),
    };
    let npm = process::find("npm").ok_or_else(|| missing("npm"))?;
    process::find("node").ok_or_else(|| missing("node"))?;
    let package = format!("azurite@{AZURITE}");
    let folder = cache::entry(&Key::new("azurite").text(&package), |folder| {
        let mut install = Command::new(npm);
        install
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(folder)
            .arg(&package);
        process::run(
            &format!("installing {package} (once; about 1 minute)"),
            &mut install,
        )
    })?;
    Ok(folder.join("node_modules/azurite/dist/src/blob/main.js"))
}

/// A program that may have to be built, which blocks.
async fn installed(path: impl FnOnce() -> Result<PathBuf> + Send + 'static) -> Result<PathBuf> {
    tokio::task::spawn_blocking(path)
        .await
        .map_err(|error| Error::Unmet(format!("the build of a store was cut off: {error}")))?
}
