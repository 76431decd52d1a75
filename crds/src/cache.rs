//! Where servers keep models that they fetched.

use schemars::JsonSchema;
use sconce_contract::CacheOutcome;
use sconce_contract::validation::rules;
use serde::{Deserialize, Serialize};

use crate::Quantity;

/// Where the servers keep the model that they fetch, and look for it first, by its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.claimName) == (self.strategy == 'SharedVolume')",
     "cache.claimName goes with cache.strategy SharedVolume, which needs it"),
    ("!has(self.sizeLimit) || self.strategy == 'SharedVolume'",
     "cache.sizeLimit goes with cache.strategy SharedVolume: that of the nodes is the chart's nodeCache.sizeLimit"),
])))]
pub struct Cache {
    /// Which disk.
    pub strategy: CacheStrategy,
    /// With SharedVolume: the PersistentVolumeClaim, of this namespace. It is mounted for writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    )]
    pub claim_name: Option<String>,
    /// With SharedVolume: most bytes of all models in it; those used longest ago make room. Absent: nothing is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// Which disk models are kept on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CacheStrategy {
    /// None: each server fetches the model.
    #[default]
    None,
    /// Each node's, in the folder that the chart's `nodeCache` allows.
    Node,
    /// A claim's, which all servers mount.
    SharedVolume,
}

/// What the server of a pod told of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheTold {
    /// Where its model came from.
    pub outcome: CacheOutcome,
    /// Why it was not cached, or what was wrong with a copy that was fetched anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
