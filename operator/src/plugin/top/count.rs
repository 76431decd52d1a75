//! Who holds which units: each pod that has a node and has not ended holds what its owner's spec asks for. Pure.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use sconce_crds::resources::Accelerator;
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use serde::Serialize;
use serde_json::Value;

use crate::plugin::table::columns;
use crate::seen::Pod;
use crate::{labels, observed};

/// What is said where nothing is known.
const UNKNOWN: &str = "unknown";

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Profiles of the cluster; nothing where they may not be listed.
    pub profiles: Option<Vec<AcceleratorProfile>>,
    /// Trainings that may hold units.
    pub trainings: Vec<ModelTraining>,
    /// Deployments that may hold units.
    pub deployments: Vec<ModelDeployment>,
    /// Pods of both.
    pub pods: Vec<Pod>,
    /// Where was looked, for people.
    pub place: String,
}

/// An object with units in its pods.
#[derive(Clone, Debug, PartialEq)]
struct Holder {
    title: String,
    units: u64,
    pods: usize,
    busy: Option<f64>,
}

/// The profiles with what they have, and below it who holds how much.
pub fn table(seen: &Seen) -> String {
    let held = held(seen);
    let rows: Vec<Vec<String>> = match &seen.profiles {
        Some(profiles) => profiles.iter().map(|profile| row(profile, &held)).collect(),
        None => held
            .keys()
            .map(|name| {
                vec![
                    name.clone(),
                    UNKNOWN.into(),
                    UNKNOWN.into(),
                    UNKNOWN.into(),
                    sum(&held, name),
                ]
            })
            .collect(),
    };
    let mut text = columns(&["PROFILE", "UNIT", "CAPACITY", "ALLOCATED", "HELD HERE"], &rows);
    if seen.profiles.is_none() {
        text += "\nYou may not list AcceleratorProfiles, which are the cluster's: ask for the ClusterRole view with a ClusterRoleBinding.\n";
    }
    let rows: Vec<Vec<String>> = held
        .iter()
        .flat_map(|(profile, holders)| holders.iter().map(move |holder| holder_row(profile, holder)))
        .collect();
    if rows.is_empty() {
        text += &format!("\nNobody holds a unit {}.\n", seen.place);
    } else {
        text += "\n";
        text += &columns(&["HOLDER", "PROFILE", "UNITS", "PODS", "BUSY"], &rows);
    }
    text
}

fn row(profile: &AcceleratorProfile, held: &BTreeMap<String, Vec<Holder>>) -> Vec<String> {
    let name = profile.name_any();
    let units = profile.status.as_ref().and_then(|status| status.units);
    let told = |number: Option<i64>| number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string());
    vec![
        name.clone(),
        unit(profile),
        told(units.map(|units| units.capacity)),
        told(units.map(|units| units.allocated)),
        sum(held, &name),
    ]
}

fn unit(profile: &AcceleratorProfile) -> String {
    let spec = serde_json::to_value(&profile.spec).unwrap_or_default();
    let resources = spec["resources"].as_object().into_iter().flatten();
    let named: Vec<String> = resources.map(|(name, _)| name.clone()).collect();
    match (named.is_empty(), spec["deviceClassName"].as_str()) {
        (false, _) => named.join(", "),
        (true, Some(class)) => format!("class {class}"),
        (true, None) => "the processor".to_owned(),
    }
}

fn sum(held: &BTreeMap<String, Vec<Holder>>, profile: &str) -> String {
    let holders = held.get(profile).map(Vec::as_slice).unwrap_or_default();
    holders.iter().map(|holder| holder.units).sum::<u64>().to_string()
}

fn holder_row(profile: &str, holder: &Holder) -> Vec<String> {
    let busy = holder
        .busy
        .map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.0}%", share * 100.0));
    vec![
        holder.title.clone(),
        profile.to_owned(),
        holder.units.to_string(),
        holder.pods.to_string(),
        busy,
    ]
}

/// Profile → who holds units of it, the largest first.
fn held(seen: &Seen) -> BTreeMap<String, Vec<Holder>> {
    let mut held: BTreeMap<String, Vec<Holder>> = BTreeMap::new();
    let trainings = seen.trainings.iter().map(|training| {
        let count = pods(seen, training, labels::TRAINING);
        (
            training.spec.accelerator.as_ref(),
            holder("mtrain", training, count, busy(training)),
        )
    });
    let deployments = seen.deployments.iter().map(|deployment| {
        let count = pods(seen, deployment, labels::DEPLOYMENT);
        (
            deployment.spec.accelerator.as_ref(),
            holder("mdep", deployment, count, busy(deployment)),
        )
    });
    for (accelerator, mut holder) in trainings.chain(deployments) {
        let Some(Accelerator { profile, count, .. }) = accelerator.filter(|_| holder.pods > 0) else {
            continue;
        };
        holder.units = u64::from(*count) * holder.pods as u64;
        held.entry(profile.clone()).or_default().push(holder);
    }
    for holders in held.values_mut() {
        holders.sort_by_key(|holder| (std::cmp::Reverse(holder.units), holder.title.clone()));
    }
    held
}

fn holder<K: Resource<DynamicType = ()>>(short: &str, object: &K, pods: usize, busy: Option<f64>) -> Holder {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    Holder {
        title: format!("{namespace}/{short}/{}", object.name_any()),
        units: 0,
        pods,
        busy,
    }
}

/// Pods of an object that hold what they asked for: a unit is taken when the scheduler finds a node, and given back
/// when the pod ends.
fn pods<K: Resource<DynamicType = ()>>(seen: &Seen, object: &K, label: &str) -> usize {
    let is_its = |pod: &&Pod| {
        pod.metadata.namespace == object.meta().namespace
            && pod.labels().get(label).map(String::as_str) == object.meta().name.as_deref()
    };
    let holds = |pod: &&Pod| observed::is_scheduled(pod) && !observed::is_finished(pod);
    seen.pods.iter().filter(is_its).filter(holds).count()
}

/// Seconds at work among the seconds held, where the status has both.
fn busy(object: &impl Serialize) -> Option<f64> {
    let allocated = number_at(object, "/status/acceleratorSeconds/allocated")?;
    let busy = number_at(object, "/status/acceleratorSeconds/busy")?;
    (allocated > 0.0).then(|| (busy / allocated).clamp(0.0, 1.0))
}

/// Read by its path: a version of the CRDs may not have the field.
fn number_at(object: &impl Serialize, path: &str) -> Option<f64> {
    serde_json::to_value(object)
        .ok()?
        .pointer(path)
        .and_then(Value::as_f64)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
