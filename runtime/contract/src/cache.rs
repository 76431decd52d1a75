//! Models that many servers of a node, or of a volume, share on a disk.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Path of [`CacheReport`] on [`crate::progress::OBSERVABILITY_PORT`]; 404 where the plan has no cache, or the model
/// is not loaded yet.
pub const CACHE_PATH: &str = "/v1/cache";

/// Where a server keeps the model that it fetches, and looks first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CachePlan {
    /// The folder that is shared.
    pub path: PathBuf,
    /// Folder in it whose models this server may use: the namespace.
    pub scope: String,
    /// Most bytes of the models of all scopes. Absent: what the volume holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<u64>,
}

/// What became of a server's look into its cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheReport {
    /// Where the model came from.
    pub outcome: CacheOutcome,
    /// Bytes of all models in the cache, once the model was loaded; 0 where the cache cannot be read.
    #[serde(default)]
    pub bytes: u64,
    /// Models that made room for this one.
    #[serde(default)]
    pub evicted: u64,
    /// Why it was not cached, or what was wrong with a copy that was fetched anew; one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where a server's model came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CacheOutcome {
    /// It was in the cache.
    Hit,
    /// It was fetched into the cache, and read from there.
    Fetched,
    /// It was read past the cache, which could not take it.
    NotCached,
}
