//! What can go wrong, each as a sentence with its remedy.

use std::io;

use sconce_contract::FailureClass;

/// Why a URI could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The scheme is none of ours.
    #[error("{uri} is not a URI that can be read here: write one that starts with one of {known}")]
    UnknownScheme {
        /// The URI.
        uri: String,
        /// The schemes that exist.
        known: String,
    },
    /// The URI lacks a part or has one that is not allowed.
    #[error("{uri} is not usable: {reason}")]
    Malformed {
        /// The URI.
        uri: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// The claim or ConfigMap is not mounted.
    #[error("{uri} is not mounted here: {mount} must be among the plan's mounts")]
    NotMounted {
        /// The URI.
        uri: String,
        /// The mount that is missing.
        mount: String,
    },
    /// There is nothing.
    #[error("there is nothing at {uri}: check the path, and that it was written before it is read")]
    NotFound {
        /// The URI.
        uri: String,
    },
    /// The bucket or container is not there.
    #[error("there is no {place} for {uri}: create it, or correct the URI, the region or the endpoint")]
    NoPlace {
        /// The URI.
        uri: String,
        /// What the service calls it.
        place: &'static str,
    },
    /// The environment does not say how to reach the service.
    #[error(
        "{uri} cannot be asked for ({reason}): add what is missing to the Secret of credentialsRef or to the pod's \
         environment"
    )]
    Unconfigured {
        /// The URI.
        uri: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// The Secret has nothing that a web server could be shown.
    #[error(
        "the Secret has neither the key token nor the keys username and password, which the web server of {uri} would be \
         shown: add them"
    )]
    NoCredentials {
        /// The URI.
        uri: String,
    },
    /// There is something that we may not read or write.
    #[error("access to {uri} is forbidden ({reason}): grant it, or choose another location")]
    Forbidden {
        /// The URI.
        uri: String,
        /// Who refused.
        reason: String,
    },
    /// There is something, but not a file.
    #[error("{uri} is {kind}, not a file: name a file")]
    NotAFile {
        /// The URI.
        uri: String,
        /// What it is.
        kind: &'static str,
    },
    /// More bytes than the caller wants.
    #[error("{uri} is larger than the limit of {limit} bytes: make it smaller or split it")]
    TooLarge {
        /// The URI.
        uri: String,
        /// Bytes.
        limit: u64,
    },
    /// The server answers that the request is wrong.
    #[error("{uri} is answered with {status}: check the URI")]
    Refused {
        /// The URI.
        uri: String,
        /// The status, such as `410 Gone`.
        status: String,
    },
    /// A name of a file or folder to write is unusable.
    #[error(
        "{name:?} cannot be written under {uri}: a name is not empty, has no slash and starts with no dot"
    )]
    Name {
        /// URI of the parent.
        uri: String,
        /// The name.
        name: String,
    },
    /// The scheme cannot be written.
    #[error("{uri} can only be read: write to a pvc://, s3://, gs://, az://, hdfs:// or file:/// location")]
    ReadOnly {
        /// The URI.
        uri: String,
    },
    /// Another folder has the name.
    #[error("{uri} exists already with other content: remove it or choose another output location")]
    Conflict {
        /// The URI.
        uri: String,
    },
    /// The server could not be reached or did not answer properly, in several tries.
    #[error(
        "{uri} could not be read in {tries} tries ({reason}): check that the server is up and reachable from here"
    )]
    Network {
        /// The URI.
        uri: String,
        /// How often it was tried.
        tries: u32,
        /// What happened last.
        reason: String,
    },
    /// A cloud could not be reached or did not answer properly, in several tries.
    #[error("{uri} could not be reached ({reason}): check that the service is up and reachable from here")]
    Unreachable {
        /// The URI.
        uri: String,
        /// What happened last.
        reason: String,
    },
    /// It is another object than when reading began.
    #[error("{uri} changed while it was read: try again when whoever writes it has finished")]
    Changed {
        /// The URI.
        uri: String,
    },
    /// There is no room.
    #[error(
        "{uri}: {action} failed because the volume has no room left ({source}): free some, or make it larger"
    )]
    Full {
        /// The URI.
        uri: String,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file system failed.
    #[error("{uri}: {action} failed ({source}): check the volume and its free space")]
    Io {
        /// The URI.
        uri: String,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the credentials are what has to be looked at first.
    pub fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            StoreError::Forbidden { .. } | StoreError::NoCredentials { .. } | StoreError::Unconfigured { .. }
        )
    }

    /// Whose fault it is: what a retry can mend is [`FailureClass::Storage`], the rest is bad input.
    pub fn class(&self) -> FailureClass {
        match self {
            StoreError::Network { .. }
            | StoreError::Unreachable { .. }
            | StoreError::Changed { .. }
            | StoreError::Full { .. }
            | StoreError::Io { .. } => FailureClass::Storage,
            _ => FailureClass::BadInput,
        }
    }

    /// What an error of the file system means for the URI.
    pub(crate) fn io(uri: String, action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StoreError::NotFound { uri },
            io::ErrorKind::PermissionDenied => StoreError::Forbidden {
                uri,
                reason: "the file system does".into(),
            },
            io::ErrorKind::ReadOnlyFilesystem => StoreError::Forbidden {
                uri,
                reason: "the volume is mounted read-only".into(),
            },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => StoreError::Malformed {
                uri,
                reason: format!("the path is not valid ({source})"),
            },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::Full { uri, action, source }
            }
            _ => StoreError::Io { uri, action, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_volume_is_told_as_such_and_may_be_tried_again() {
        // ENOSPC and EDQUOT of Linux.
        for code in [28, 122] {
            let error = StoreError::io(
                "pvc://a/b".to_owned(),
                "writing",
                io::Error::from_raw_os_error(code),
            );
            assert!(error.to_string().contains("has no room left"), "{error}");
            assert_eq!(error.class(), FailureClass::Storage);
        }
    }
}
