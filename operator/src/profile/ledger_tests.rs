//! Tests of `ledger`.

use serde_json::{Value, json};

use super::*;

const GPU: &str = "nvidia.com/gpu";

fn profile(change: &Value) -> AcceleratorProfileSpec {
    let mut spec =
        json!({"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}, "nodeSelector": {"gpu": "l4"}});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn node(gpus: i64) -> NodeFacts {
    NodeFacts {
        labels: [("gpu".to_owned(), "l4".to_owned())].into(),
        takes_pods: true,
        offers: [(GPU.to_owned(), gpus)].into(),
        ..NodeFacts::default()
    }
}

fn holds(node: &str, gpus: i64) -> Option<PodFacts> {
    Some(PodFacts {
        node: node.to_owned(),
        holds: [(GPU.to_owned(), gpus)].into(),
    })
}

fn units_of(ledger: &Ledger, change: &Value) -> (i64, i64, i64) {
    let count = ledger.count(&profile(change));
    let units = count.units.unwrap();
    (units.capacity, units.allocated, count.most_free_on_one_node)
}

#[test]
fn units_are_of_the_profiles_nodes_that_take_pods() {
    let mut ledger = Ledger::default();
    ledger.node("a".into(), node(8));
    ledger.node("b".into(), node(4));
    ledger.node(
        "cordoned".into(),
        NodeFacts {
            takes_pods: false,
            ..node(8)
        },
    );
    ledger.node(
        "other".into(),
        NodeFacts {
            labels: Default::default(),
            ..node(8)
        },
    );
    ledger.node(
        "bare".into(),
        NodeFacts {
            offers: Amounts::new(),
            ..node(0)
        },
    );
    ledger.pod("1".into(), holds("a", 5));
    ledger.pod("2".into(), holds("b", 1));
    ledger.pod("3".into(), holds("cordoned", 8));
    assert_eq!(units_of(&ledger, &json!({})), (12, 6, 3));
    let count = ledger.count(&profile(&json!({})));
    assert_eq!((count.labelled, count.offering, count.nodes), (4, 3, 2));
    assert_eq!(count.spare(), Some(3));
}

#[test]
fn a_unit_of_two_needs_both() {
    let mut ledger = Ledger::default();
    ledger.node("a".into(), node(8));
    let pair = json!({"resources": {"nvidia.com/gpu": "2"}});
    ledger.pod("1".into(), holds("a", 1));
    assert_eq!(units_of(&ledger, &pair), (4, 1, 3));
    ledger.pod("2".into(), holds("a", 1));
    assert_eq!(units_of(&ledger, &pair), (4, 1, 3));
    let network = json!({"resources": {"nvidia.com/gpu": "1", "rdma/hca": "1"}});
    assert_eq!(units_of(&ledger, &network), (0, 0, 0));
}

#[test]
fn a_pod_that_goes_or_ends_gives_back_what_it_held() {
    let mut ledger = Ledger::default();
    ledger.node("a".into(), node(2));
    assert!(ledger.pod("1".into(), holds("a", 2)));
    assert!(!ledger.pod("1".into(), holds("a", 2)), "no news");
    assert_eq!(units_of(&ledger, &json!({})), (2, 2, 0));
    assert!(ledger.pod("1".into(), None));
    assert!(!ledger.pod("1".into(), None));
    assert_eq!(units_of(&ledger, &json!({})), (2, 0, 2));
    assert!(ledger.held.is_empty() && ledger.pods.is_empty());
}

#[test]
fn a_taint_keeps_away_whoever_does_not_tolerate_it() {
    let taint = |effect: &str| Taint {
        key: GPU.to_owned(),
        value: Some("present".to_owned()),
        effect: effect.to_owned(),
        ..Taint::default()
    };
    let mut ledger = Ledger::default();
    ledger.node(
        "a".into(),
        NodeFacts {
            taints: vec![taint("NoSchedule")],
            ..node(2)
        },
    );
    for (tolerations, capacity) in [
        (json!([]), 0),
        (
            json!([{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]),
            2,
        ),
        (
            json!([{"key": GPU, "operator": "Exists", "effect": "NoExecute"}]),
            0,
        ),
        (json!([{"key": GPU, "value": "present"}]), 2),
        (json!([{"key": GPU, "value": "absent"}]), 0),
        (json!([{"operator": "Exists"}]), 2),
    ] {
        let change = json!({ "tolerations": tolerations });
        assert_eq!(units_of(&ledger, &change).0, capacity, "{change}");
    }
}

#[test]
fn one_alternative_of_labels_is_enough_and_a_forbidden_one_too_much() {
    let labelled = |labels: &[(&str, &str)]| NodeFacts {
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..node(1)
    };
    let mut ledger = Ledger::default();
    ledger.node("x".into(), labelled(&[("gpu", "l4"), ("x", "1")]));
    ledger.node("yz".into(), labelled(&[("gpu", "l4"), ("y", "1"), ("z", "1")]));
    ledger.node("y".into(), labelled(&[("gpu", "l4"), ("y", "1")]));
    ledger.node("other".into(), labelled(&[("x", "1")]));
    ledger.node(
        "shared".into(),
        labelled(&[("gpu", "l4"), ("x", "1"), ("shared", "")]),
    );
    let change =
        json!({"nodeSelectors": [{"x": "1"}, {"y": "1", "z": "1"}], "withoutNodeLabels": ["shared"]});
    assert_eq!(units_of(&ledger, &change).0, 2);
}

#[test]
fn a_profile_of_the_processor_has_nodes_and_no_units() {
    let mut ledger = Ledger::default();
    ledger.node("a".into(), node(2));
    ledger.node(
        "b".into(),
        NodeFacts {
            labels: Default::default(),
            ..node(0)
        },
    );
    let count = ledger.count(&profile(
        &json!({"device": "CPU", "resources": {}, "nodeSelector": {}}),
    ));
    assert_eq!((count.nodes, count.units, count.spare()), (2, None, None));
}

#[test]
fn devices_of_a_class_are_units_of_the_profiles_nodes() {
    use super::super::claims::{ClaimFacts, Device, SliceFacts};
    use super::super::selector::read;

    let mut ledger = Ledger::default();
    for (name, pool) in [("a", "gpu"), ("b", "gpu"), ("c", "other")] {
        let facts = NodeFacts {
            labels: BTreeMap::from([("pool".to_owned(), pool.to_owned())]),
            takes_pods: true,
            ..NodeFacts::default()
        };
        ledger.node(name.to_owned(), facts);
        let devices = (0..2).map(|at| Device {
            name: format!("gpu-{at}"),
            attributes: BTreeMap::new(),
        });
        let slice = SliceFacts {
            driver: "d".to_owned(),
            pool: (name.to_owned(), 1),
            node: Some(name.to_owned()),
            devices: devices.collect(),
            shared: false,
        };
        ledger.devices.slice(name.to_owned(), Some(slice));
    }
    let spec: AcceleratorProfileSpec = serde_json::from_value(
        json!({"device": "CUDA", "deviceClassName": "c", "nodeSelector": {"pool": "gpu"}}),
    )
    .unwrap();
    assert_eq!(
        (ledger.count(&spec).units, ledger.count(&spec).uncounted),
        (None, Some(Uncounted::NoClass))
    );
    ledger
        .devices
        .class("c".to_owned(), Some(read(["device.driver == 'd'"])));
    for (pool, device) in [("a", "gpu-0"), ("a", "gpu-1"), ("c", "gpu-0")] {
        let id = ("d".to_owned(), pool.to_owned(), device.to_owned());
        let facts = ClaimFacts {
            devices: vec![(id, "c".to_owned())],
        };
        ledger.devices.claim(format!("{pool}/{device}"), Some(facts));
    }
    let count = ledger.count(&spec);
    let units = Units {
        capacity: 4,
        allocated: 2,
    };
    assert_eq!(
        (count.nodes, count.units, count.most_free_on_one_node),
        (2, Some(units), 2)
    );
    assert_eq!(count.spare(), Some(2));
}
