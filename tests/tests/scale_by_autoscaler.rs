//! A HorizontalPodAutoscaler of the real controller manager sets the number of pods through `/scale`.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use sconce_tests::fleet::{Fleet, PODS};
use sconce_tests::metrics_api::MetricsApi;
use sconce_tests::objects::{deployment_of_uri, with};
use sconce_tests::room::{Room, served, told};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// One pod that answers, of a ModelDeployment that somebody else scales.
async fn serving(room: &Room) -> Outcome<Fleet<'_>> {
    room.apply(with(
        deployment_of_uri("iris", "https://models.example/iris/1"),
        &json!({"spec": {"autoscaling": {"mode": "External"}}}),
    ))
    .await?;
    let mut fleet = Fleet::of(room).await?;
    fleet.grows_to(1).await?;
    room.deployment_says("iris", "Serving").await?;
    Ok(fleet)
}

fn autoscaler(change: &Value) -> Value {
    let target = json!({"apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "name": "iris"});
    let whole = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "iris"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5},
    });
    with(whole, &json!({ "spec": change }))
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_by_a_horizontal_pod_autoscaler_goes_through_scale() -> Outcome {
    let room = Room::open().await?;
    let mut fleet = serving(&room).await?;
    // There is no metrics API here: what it does without one is to keep to its bounds.
    let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}});
    room.apply(autoscaler(&json!({
        "minReplicas": 3, "metrics": [{"type": "Resource", "resource": cpu}],
    })))
    .await?;
    fleet.grows_to(3).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(seen.spec.replicas, 3, "the autoscaler set it");
    assert_eq!(seen.status.and_then(|status| status.desired_replicas), None);
    let scaler = room
        .see(
            "iris",
            "the autoscaler counts our pods",
            |scaler: &HorizontalPodAutoscaler| {
                scaler
                    .status
                    .as_ref()
                    .is_some_and(|status| status.current_replicas == Some(3))
            },
        )
        .await?;
    let able = scaler
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    assert!(
        able.iter()
            .any(|found| found.type_ == "AbleToScale" && found.status == "True"),
        "{able:?}"
    );
    room.kubelet.active(PODS, 3).await?;
    room.get::<Pod>(&fleet.servers[0].0).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_by_a_horizontal_pod_autoscaler_follows_a_metric_up_and_down() -> Outcome {
    let room = Room::open().await?;
    let metrics = MetricsApi::start(&room, "sconce_requests_in_flight").await?;
    let mut fleet = serving(&room).await?;
    metrics.says(3);
    room.apply(autoscaler(&json!({
        "minReplicas": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        "metrics": [{"type": "External", "external": {
            "metric": {"name": "sconce_requests_in_flight"}, "target": {"type": "AverageValue", "averageValue": "1"},
        }}],
    })))
    .await?;
    // Three requests at one for each pod; that there are to be more is no alarm.
    let seen = room.deployment_says("iris", "ScalingUp").await?;
    assert!(told(served(&seen), "Ready").starts_with("True"));
    assert_eq!(seen.spec.replicas, 3);
    fleet.grows_to(3).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(seen.status.and_then(|status| status.settled_replicas), Some(3));
    let scaler = room
        .see(
            "iris",
            "the autoscaler knows the metric",
            |scaler: &HorizontalPodAutoscaler| {
                let conditions = scaler
                    .status
                    .as_ref()
                    .and_then(|status| status.conditions.as_ref());
                conditions.into_iter().flatten().any(|found| {
                    found.type_ == "ScalingActive" && found.reason.as_deref() == Some("ValidMetricFound")
                })
            },
        )
        .await?;
    let current = scaler
        .status
        .and_then(|status| status.current_metrics)
        .unwrap_or_default();
    assert!(
        current.iter().any(|metric| metric.external.is_some()),
        "{current:?}"
    );
    assert!(metrics.was_asked(&room.namespace));

    metrics.says(1);
    room.kubelet.active(PODS, 1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(seen.spec.replicas, 1);
    metrics.remove(&room).await?;
    Ok(room.close()?)
}
