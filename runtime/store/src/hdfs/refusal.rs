//! What a cluster says, to a sentence with its remedy.

use std::io;

use hdfs_native::HdfsError;

use crate::StoreError;
use crate::scheme::Target;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The cluster, or the way to it.
    Cluster(HdfsError),
    /// There is nothing.
    Absent,
    /// It is no file.
    Folder,
    /// The file is another one than before.
    Changed,
    /// It has more bytes.
    TooLarge(u64),
    /// There are more files.
    TooMany(usize),
    /// Another folder has the name.
    Conflict(String),
}

impl From<HdfsError> for Trouble {
    fn from(error: HdfsError) -> Self {
        Trouble::Cluster(error)
    }
}

/// Whether the NameNode says that there is no such file or folder.
pub(super) fn is_absent(error: &HdfsError) -> bool {
    matches!(error, HdfsError::FileNotFound(_))
}

impl Trouble {
    pub(super) fn told(self, target: &Target<'_>) -> StoreError {
        let uri = target.shown();
        match self {
            Trouble::Absent => StoreError::NotFound { uri },
            Trouble::Folder => StoreError::NotAFile {
                uri,
                kind: "a folder",
            },
            Trouble::Changed => StoreError::Changed { uri },
            Trouble::TooLarge(limit) => StoreError::TooLarge { uri, limit },
            Trouble::TooMany(most) => StoreError::Malformed {
                uri,
                reason: format!("there are more than {most} files in the folder"),
            },
            Trouble::Conflict(name) => StoreError::Conflict {
                uri: format!("{}/{name}", uri.trim_end_matches('/')),
            },
            Trouble::Cluster(error) => cluster(target, error),
        }
    }
}

fn cluster(target: &Target<'_>, error: HdfsError) -> StoreError {
    let uri = target.shown();
    match error {
        HdfsError::FileNotFound(_) => StoreError::NotFound { uri },
        HdfsError::IsADirectoryError(_) => StoreError::NotAFile {
            uri,
            kind: "a folder",
        },
        HdfsError::InvalidPath(reason) => StoreError::Malformed { uri, reason },
        HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism => {
            StoreError::Forbidden {
                uri,
                reason: "the cluster asks for Kerberos, and no ticket or token was shown that it takes"
                    .to_owned(),
            }
        }
        HdfsError::RPCError(kind, said) | HdfsError::FatalRPCError(kind, said) => refused(uri, &kind, &said),
        // What may pass has been tried several times.
        error => StoreError::Unreachable {
            uri,
            reason: one_line(&error.to_string()),
        },
    }
}

/// By the Java class of the exception that the NameNode sends.
fn refused(uri: String, kind: &str, said: &str) -> StoreError {
    let kind = kind.rsplit(['.', '$']).next().unwrap_or(kind);
    let reason = one_line(said);
    match kind {
        "AccessControlException" | "AuthorizationException" | "InvalidToken" => StoreError::Forbidden {
            uri,
            reason: format!("the NameNode answers {reason:?}; the user is the one of HADOOP_USER_NAME"),
        },
        "FileNotFoundException" => StoreError::NotFound { uri },
        "NSQuotaExceededException" | "DSQuotaExceededException" | "QuotaByStorageTypeExceededException" => {
            StoreError::Full {
                uri,
                action: "writing",
                source: io::Error::new(io::ErrorKind::QuotaExceeded, reason),
            }
        }
        "FileAlreadyExistsException" | "ParentNotDirectoryException" => StoreError::Conflict { uri },
        "InvalidPathException" | "InvalidRequestException" => StoreError::Malformed { uri, reason },
        _ => StoreError::Unreachable {
            uri,
            reason: format!("the NameNode answers {kind}: {reason}"),
        },
    }
}

/// The first line, of bounded length: a stack follows.
fn one_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_an_exception_decides_and_a_stack_is_left_out() {
        let told = |kind: &str, said: &str| refused("hdfs://a/b".to_owned(), kind, said);
        let denied = told(
            "org.apache.hadoop.security.AccessControlException",
            "Permission denied: user=eve, access=WRITE\n\tat java.base/a.B",
        );
        assert!(matches!(denied, StoreError::Forbidden { .. }), "{denied:?}");
        assert!(
            denied.to_string().contains("user=eve") && !denied.to_string().contains("java.base"),
            "{denied}"
        );
        let full = told(
            "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException",
            "the quota",
        );
        assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
        let safe = told(
            "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
            "Name node is in safe mode.",
        );
        assert!(
            matches!(safe, StoreError::Unreachable { .. }) && safe.to_string().contains("safe mode"),
            "{safe}"
        );
    }
}
