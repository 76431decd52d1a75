//! Asks a trainer how far it is.

use sconce_contract::Progress;
use sconce_contract::progress::PROGRESS_PATH;

use crate::ask::PodClient;

/// Keeps connections to running trainers.
#[derive(Clone, Default)]
pub struct ProgressClient(PodClient);

impl ProgressClient {
    /// What the trainer at this address says, if it says something.
    pub async fn ask(&self, pod_ip: &str) -> Option<Progress> {
        self.0.ask(pod_ip, PROGRESS_PATH).await
    }
}
