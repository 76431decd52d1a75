//! The profiles that the chart brings find the nodes of each cloud by the labels that are on them, and no others.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use sconce_crds::AcceleratorProfile;
use sconce_crds::accelerator::Units;
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{deployment_of_uri, with};
use sconce_tests::room::Room;
use sconce_tests::wait::until;
use sconce_tests::world::{self, Extent};
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Labels of a node, as a cloud or a vendor's labeller puts them there: what else it carries does not matter here.
type Labels = &'static [(&'static str, &'static str)];

const GKE: &str = "cloud.google.com/gke-accelerator";
const GKE_PART: &str = "cloud.google.com/gke-gpu-partition-size";
const GKE_SHARED: &str = "cloud.google.com/gke-gpu-sharing-strategy";
const GKE_TPU: &str = "cloud.google.com/gke-tpu-accelerator";
const EKS: &str = "eks.amazonaws.com/instance-gpu-name";
const EKS_MEMORY: &str = "eks.amazonaws.com/instance-gpu-memory";
const EKS_OTHER: &str = "eks.amazonaws.com/instance-accelerator-name";
const KARPENTER: &str = "karpenter.k8s.aws/instance-gpu-name";
const KARPENTER_MEMORY: &str = "karpenter.k8s.aws/instance-gpu-memory";
const KARPENTER_OTHER: &str = "karpenter.k8s.aws/instance-accelerator-name";
const TYPE: &str = "node.kubernetes.io/instance-type";
const AKS: &str = "kubernetes.azure.com/accelerator";
const PRODUCT: &str = "nvidia.com/gpu.product";
const NVIDIA: &str = "nvidia.com/gpu";
const NEURON: &str = "aws.amazon.com/neuron";

/// A profile, its resource and its nodes.
const FLEET: &[(&str, &str, &[Labels])] = &[
    (
        "nvidia-l4",
        NVIDIA,
        &[
            &[(GKE, "nvidia-l4"), (TYPE, "g2-standard-4")],
            &[(EKS, "l4"), (TYPE, "g6.xlarge")],
            &[
                (KARPENTER, "l4"),
                (KARPENTER_MEMORY, "22888"),
                (TYPE, "g6.12xlarge"),
            ],
            &[(TYPE, "g6.48xlarge")],
            &[(PRODUCT, "NVIDIA-L4")],
        ],
    ),
    (
        "nvidia-a10",
        NVIDIA,
        &[
            &[(KARPENTER, "a10g"), (TYPE, "g5.2xlarge")],
            &[(TYPE, "g5.xlarge"), (PRODUCT, "NVIDIA-A10G")],
            &[(TYPE, "Standard_NV36ads_A10_v5"), (AKS, "nvidia")],
            &[(PRODUCT, "NVIDIA-A10")],
        ],
    ),
    (
        "nvidia-a100-40gb",
        NVIDIA,
        &[
            &[(GKE, "nvidia-tesla-a100"), (TYPE, "a2-highgpu-1g")],
            &[(EKS, "a100"), (EKS_MEMORY, "40960"), (TYPE, "p4d.24xlarge")],
            &[(TYPE, "Standard_ND96asr_v4"), (AKS, "nvidia")],
            &[(PRODUCT, "NVIDIA-A100-SXM4-40GB")],
        ],
    ),
    (
        "nvidia-a100-80gb",
        NVIDIA,
        &[
            &[(GKE, "nvidia-a100-80gb"), (TYPE, "a2-ultragpu-1g")],
            &[
                (KARPENTER, "a100"),
                (KARPENTER_MEMORY, "81920"),
                (TYPE, "p4de.24xlarge"),
            ],
            &[(TYPE, "Standard_NC24ads_A100_v4"), (AKS, "nvidia")],
            &[(PRODUCT, "NVIDIA-A100-80GB-PCIe")],
        ],
    ),
    (
        "nvidia-h100",
        NVIDIA,
        &[
            &[(GKE, "nvidia-h100-80gb"), (TYPE, "a3-highgpu-8g")],
            &[(GKE, "nvidia-h100-mega-80gb"), (TYPE, "a3-megagpu-8g")],
            &[(EKS, "h100"), (TYPE, "p5.48xlarge")],
            &[(TYPE, "Standard_ND96isr_H100_v5"), (AKS, "nvidia")],
            &[(PRODUCT, "NVIDIA-H100-80GB-HBM3")],
        ],
    ),
    (
        "nvidia-h200",
        NVIDIA,
        &[
            &[(GKE, "nvidia-h200-141gb"), (TYPE, "a3-ultragpu-8g")],
            &[(KARPENTER, "h200"), (TYPE, "p5en.48xlarge")],
            &[(TYPE, "Standard_ND96isr_H200_v5"), (AKS, "nvidia")],
            &[(PRODUCT, "NVIDIA-H200")],
        ],
    ),
    (
        "nvidia-a100-1g-5gb",
        "nvidia.com/mig-1g.5gb",
        &[&[
            (PRODUCT, "NVIDIA-A100-SXM4-40GB"),
            ("nvidia.com/mig.strategy", "mixed"),
        ]],
    ),
    (
        "nvidia-a100-1g-5gb-gke",
        NVIDIA,
        &[&[
            (GKE, "nvidia-tesla-a100"),
            (GKE_PART, "1g.5gb"),
            (TYPE, "a2-highgpu-1g"),
        ]],
    ),
    (
        "amd-mi300x",
        "amd.com/gpu",
        &[
            &[
                ("amd.com/gpu.product-name", "AMD_Instinct_MI300X_OAM"),
                ("amd.com/gpu.device-id", "74a1"),
            ],
            &[(TYPE, "Standard_ND96isr_MI300X_v5")],
        ],
    ),
    (
        "google-tpu-v5e",
        "google.com/tpu",
        &[&[
            (GKE_TPU, "tpu-v5-lite-podslice"),
            ("cloud.google.com/gke-tpu-topology", "1x1"),
        ]],
    ),
    (
        "aws-inferentia2",
        NEURON,
        &[
            &[(KARPENTER_OTHER, "inferentia2"), (TYPE, "inf2.8xlarge")],
            &[(TYPE, "inf2.xlarge")],
        ],
    ),
    (
        "aws-trainium",
        NEURON,
        &[
            &[(EKS_OTHER, "trainium"), (TYPE, "trn1.32xlarge")],
            &[(TYPE, "trn1.2xlarge")],
        ],
    ),
    ("intel-gaudi", "habana.ai/gaudi", &[&[(TYPE, "dl1.24xlarge")]]),
];

/// Nodes that no profile with a name for its device may take: shared, divided, or of a device that it does not know.
const OTHERS: &[Labels] = &[
    &[(GKE, "nvidia-l4"), (GKE_SHARED, "time-sharing")],
    &[(GKE, "nvidia-a100-80gb"), (GKE_PART, "1g.10gb")],
    &[(PRODUCT, "NVIDIA-L4-SHARED")],
    &[(PRODUCT, "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb")],
    &[(TYPE, "Standard_NV6ads_A10_v5"), (AKS, "nvidia")],
    &[(EKS, "a100"), (TYPE, "p4d.24xlarge-of-unknown-memory")],
    &[(KARPENTER, "t4"), (TYPE, "g4dn.xlarge")],
];

/// Creates a node with one unit, tainted as its cloud does.
async fn node(room: &Room, name: &str, resource: &str, labels: Labels) -> sconce_tests::Result<()> {
    let taint = if resource.starts_with("nvidia.com/") {
        NVIDIA
    } else {
        resource
    };
    let mut node = FakeNode::named(name).resource(resource, "1");
    node = if labels.iter().any(|(key, _)| *key == AKS) {
        node.taint("sku", "gpu")
    } else {
        node.taint(taint, "present")
    };
    for (key, value) in labels {
        node = node.label(key, value);
    }
    node.create(&room.client).await.map(drop)
}

/// Nodes of the deployment's pods, and how many pods no node can take.
async fn placed(room: &Room, deployment: &str) -> Option<(BTreeSet<String>, usize)> {
    let label = format!("sconce.dev/deployment={deployment}");
    let pods = room
        .api::<Pod>()
        .list(&ListParams::default().labels(&label))
        .await
        .ok()?;
    let unschedulable = |pod: &&Pod| {
        let conditions = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions
            .clone()
            .any(|condition| condition.reason.as_deref() == Some("Unschedulable"))
    };
    let left = pods.iter().filter(unschedulable).count();
    let nodes = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
        .collect();
    Some((nodes, left))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shipped_profile_finds_its_nodes_on_each_cloud_and_no_other() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    world::install(&room.client, &["dist/accelerator-profiles.yaml"]).await?;
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    let shipped: BTreeSet<String> = profiles
        .list(&ListParams::default())
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let tested: BTreeSet<String> = FLEET
        .iter()
        .map(|(profile, ..)| (*profile).to_owned())
        // These take any node, or any with an NVIDIA GPU.
        .chain(["cpu".to_owned(), "nvidia-gpu".to_owned()])
        .collect();
    assert_eq!(shipped, tested);
    for (index, labels) in OTHERS.iter().enumerate() {
        node(&room, &format!("other-{index}"), NVIDIA, labels).await?;
    }
    let name = |profile: &str, index: usize| format!("{profile}-node-{index}");
    for (profile, resource, nodes) in FLEET {
        for (index, labels) in nodes.iter().enumerate() {
            node(&room, &name(profile, index), resource, labels).await?;
        }
        let image = json!({"spec": {"images": {"server": "registry.example/server:device"}}});
        profiles
            .patch(profile, &PatchParams::default(), &Patch::Merge(&image))
            .await?;
    }
    for (profile, _, nodes) in FLEET {
        // One more than there are nodes: where it finds no other, one pod is left.
        let asks = json!({"spec": {
            "accelerator": {"profile": profile}, "replicas": nodes.len() + 1, "resources": {"cpu": "100m", "memory": "64Mi"},
        }});
        room.apply(with(
            deployment_of_uri(profile, "https://models.example/iris"),
            &asks,
        ))
        .await?;
    }
    for (profile, _, nodes) in FLEET {
        let wanted: BTreeSet<String> = (0..nodes.len()).map(|index| name(profile, index)).collect();
        let mut last = None;
        until(&format!("{profile} is on its nodes"), async || {
            last = placed(&room, profile).await;
            (last.as_ref() == Some(&(wanted.clone(), 1))).then_some(())
        })
        .await
        .map_err(|error| format!("{error}: it has {last:?}"))?;
        let all = i64::try_from(nodes.len())?;
        let mut told = None;
        until(&format!("{profile} counts its nodes"), async || {
            let status = profiles.get(profile).await.ok()?.status?;
            told = Some((status.nodes, status.units));
            let full = Units {
                capacity: all,
                allocated: all,
            };
            (told == Some((Some(all), Some(full)))).then_some(())
        })
        .await
        .map_err(|error| format!("{error}: it tells {told:?}"))?;
    }
    Ok(room.close()?)
}
