//! Nodes that are only objects: what a cloud or a GPU operator would have written on them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::{Error, Result};

/// A ready node with 16 CPUs, 64 GiB and room for 110 pods (the kubelet's default), and what is
/// added to it: `FakeNode::named("gpu-0").label("cloud.google.com/gke-accelerator", "nvidia-l4")
/// .resource("nvidia.com/gpu", "2").create(&client).await?`.
pub struct FakeNode {
    node: Node,
    resources: BTreeMap<String, Quantity>,
}

impl FakeNode {
    /// A ready node of that name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let labels = [
            ("kubernetes.io/hostname", name),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
        ];
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..Default::default()
        };
        let node = Node {
            metadata,
            spec: Some(NodeSpec::default()),
            status: None,
        };
        Self {
            node,
            resources: BTreeMap::new(),
        }
        .resource("cpu", "16")
        .resource("memory", "64Gi")
        .resource("pods", "110")
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.node
            .metadata
            .labels
            .get_or_insert_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a taint with the effect `NoSchedule`.
    #[must_use]
    pub fn taint(mut self, key: &str, value: &str) -> Self {
        let taint = Taint {
            key: key.to_owned(),
            value: Some(value.to_owned()),
            effect: "NoSchedule".to_owned(),
            ..Default::default()
        };
        self.node
            .spec
            .get_or_insert_default()
            .taints
            .get_or_insert_default()
            .push(taint);
        self
    }

    /// Sets capacity and allocatable of one resource.
    #[must_use]
    pub fn resource(mut self, name: &str, quantity: &str) -> Self {
        self.resources
            .insert(name.to_owned(), Quantity(quantity.to_owned()));
        self
    }

    /// Creates the node, status and all.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create(self, client: &Client) -> Result<Node> {
        let Self { mut node, resources } = self;
        let ready = NodeCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            reason: Some("KubeletReady".to_owned()),
            ..Default::default()
        };
        node.status = Some(NodeStatus {
            capacity: Some(resources.clone()),
            allocatable: Some(resources),
            conditions: Some(vec![ready]),
            ..Default::default()
        });
        // The API server keeps the status of a node that is created with one: kubelets register so.
        let nodes: Api<Node> = Api::all(client.clone());
        let name = node.metadata.name.clone().unwrap_or_default();
        nodes
            .create(&PostParams::default(), &node)
            .await
            .map_err(Error::api(format!("create node {name}")))
    }
}
