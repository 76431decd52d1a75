//! Every reason that the operator tells by a condition or an event: one list, so that none is without a next step
//! (`kubectl sconce why` matches them all) and none is missing in docs/troubleshoot.md (a test compares them).

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($name:ident)*) => {
        /// CamelCase and stable: what people and programs find an explanation by.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum Reason {
            $(#[doc = concat!("`", stringify!($name), "`, see docs/troubleshoot.md.")] $name,)*
            /// A word of Kubernetes' or Kueue's own, which is told as it is.
            Other(String),
        }

        impl Reason {
            /// All but those of others.
            pub const ALL: &[Reason] = &[$(Reason::$name),*];

            /// As it is told.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Reason::$name => stringify!($name),)*
                    Reason::Other(word) => word,
                }
            }

            /// What somebody else says, or was told before.
            pub fn told(word: &str) -> Self {
                match word {
                    $(stringify!($name) => Reason::$name,)*
                    word => Reason::Other(word.to_owned()),
                }
            }
        }
    };
}

reasons! {
    // What a spec names and is not there, or not as it is asked for.
    ConfigMapNotFound ClaimNotFound SecretNotFound TrainingNotFound ProfileNotFound PriorityClassNotFound
    RuntimeClassNotFound DeviceClassNotFound LocalQueueNotFound QueueNotAvailable DynamicAllocationUnserved
    TooManyDevices NoImageForDevice OverrideConflict PlanTooLarge DoesNotFit ClaimAccessMode NameTaken ChildRefused
    ReconcileFails     IncumbentUnclear NodeCacheDisabled InvalidSizeLimit ImageVolumesNotServed CredentialsNotNeeded
    // What keeps a pod from running.
    Unschedulable PodRefused NoPod FailedCreate ReplicaFailure ImagePullFailed InvalidImageName ErrImageNeverPull
    CreateContainerConfigError CreateContainerError RunContainerError FailedMount FailedAttachVolume
    // How a run or a server fails.
    BadInput Diverged OutOfMemory Storage Internal Interrupted Stalled NoReport ReportLost DeadlineExceeded JobFailed
    PodGoesOn Rejected GateMissed ProgressDeadlineExceeded RolledBack
    // Whose turn it is.
    Preempted YieldedToServing AwaitingKueue WaitingForQuota AwaitingAdmission Deactivated
    // Which artifact is served.
    NoArtifactYet TrainingFailed TrainingRejected AwaitingPromotion PromotionInvalid PromotionUnknown
    PromotionAmbiguous GatesPassed Promoted Given Kept LaterRunRejected LaterRunFailed GatesRaised
    // What goes on.
    Pending Starting Training Evaluating Ending Retrying Stopping Suspended Succeeded RollingOut ReplicasStarting
    ScalingUp ScalingDown ScaledToZero Serving
    // Of single conditions.
    Valid Scheduled NotAsked NotFailed NotMeasured Ended AllPassed NoGates CurrentRevision EarlierRevision
    BothRevisions Complete NoPodAnswers LoadKnown LoadPartlyKnown LoadUnknown WithinLimits MaxReplicas NoFreeUnits
    Fits Tight ColumnsUnknown MemoryUnknown NeedUnknown Found NoNodes NotCounted
    Hit Fetched NotCached NoPodTold
    // Of events alone.
    ScaledUp ScaledDown CrdOutdated
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl From<String> for Reason {
    fn from(word: String) -> Self {
        Reason::told(&word)
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.as_str().to_owned()
    }
}

impl From<&Reason> for Reason {
    fn from(reason: &Reason) -> Self {
        reason.clone()
    }
}

impl PartialEq<str> for Reason {
    fn eq(&self, word: &str) -> bool {
        self.as_str() == word
    }
}

impl PartialEq<&str> for Reason {
    fn eq(&self, word: &&str) -> bool {
        self.as_str() == *word
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
