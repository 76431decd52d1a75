//! The number of real pods follows the load of real clients, and no request is lost on the way up or down.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use sconce_crds::ModelDeployment;
use sconce_crds::autoscaling::ScaleDecision;
use sconce_tests::objects::with;
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::traffic::{Shape, Traffic};
use sconce_tests::workload::{deployment, serve_flowers};
use serde_json::json;

/// So many rows that a tenth of a core computes on them for a tenth of a second and more: the pods are what is slow,
/// whatever else the machine does.
const HEAVY: usize = 20_000;

fn heavy(clients: usize) -> Shape {
    Shape {
        clients,
        rows: HEAVY,
        pause: Duration::ZERO,
        limit: Duration::from_secs(60),
    }
}

/// Waits until so many pods are wanted, and all of them answer.
async fn answered_by(site: &Site, count: i32) -> sconce_tests::Result<ModelDeployment> {
    let what = format!("{count} pods answer");
    site.see("iris", &what, move |seen: &ModelDeployment| {
        seen.status.as_ref().is_some_and(|status| {
            status.desired_replicas == Some(count)
                && status.ready_replicas == count
                && status.replicas == count
        })
    })
    .await
}

fn decisions(object: &ModelDeployment) -> Vec<ScaleDecision> {
    let mut all = object
        .status
        .as_ref()
        .map(|status| status.scale_decisions.clone())
        .unwrap_or_default();
    all.reverse();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_follows_rising_and_falling_load_and_no_request_is_lost() -> Outcome {
    in_a_namespace("scale", async |site| {
        serve_flowers(site).await?;
        // Requests of that size, several at once, need more than what the flowers do. Rolled out before the load counts.
        let large = with(
            deployment("iris", "iris"),
            &json!({"spec": {"resources": {"memory": "512Mi"}}}),
        );
        site.apply(large.clone()).await?;
        site.see(
            "iris",
            "the larger pod answers alone",
            |seen: &ModelDeployment| {
                let status = seen.status.clone().unwrap_or_default();
                status.observed_generation == seen.metadata.generation
                    && sconce_crds::condition::is_true(&status.conditions, "Ready")
                    && status.replicas == 1
            },
        )
        .await?;
        let scaled = json!({"spec": {"autoscaling": {
            "mode": "Managed", "minReplicas": 1, "maxReplicas": 4, "target": {"inFlightPerReplica": 1},
            "window": "5s", "scaleDownDelay": "10s",
        }}});
        site.apply(with(large, &scaled)).await?;
        answered_by(site, 1).await?;
        // One who asks now and then, throughout.
        let calm = Shape {
            clients: 1,
            pause: Duration::from_millis(100),
            limit: Duration::from_secs(60),
            ..Shape::default()
        };
        let calm = Traffic::shaped(site, "iris", calm).await?;

        let first = Traffic::shaped(site, "iris", heavy(2)).await?;
        site.see(
            "iris",
            "the first clients bring up a pod",
            |seen: &ModelDeployment| {
                seen.status
                    .as_ref()
                    .is_some_and(|status| status.desired_replicas > Some(1))
            },
        )
        .await?;
        let more = Traffic::shaped(site, "iris", heavy(6)).await?;
        let at_most = answered_by(site, 4).await?;
        for decision in decisions(&at_most) {
            assert!(
                decision.to > decision.from && decision.reason == "Queueing",
                "{decision:?}"
            );
            let inputs = decision.inputs.ok_or("no inputs")?;
            assert!(
                inputs.queued > 0.0 && inputs.in_flight > f64::from(decision.from),
                "{inputs:?}"
            );
        }

        let mut asked = first.end().await?;
        let others = more.end().await?;
        asked.lost.extend(others.lost);
        let seen = answered_by(site, 1).await?;
        site.none::<Pod>("one pod is left", |pod| pod.metadata.deletion_timestamp.is_some())
            .await?;
        let answered = calm.end().await?;

        let told = decisions(&seen);
        for decision in &told {
            eprintln!(
                "{} {} to {}: {}: {}",
                decision.time.0, decision.from, decision.to, decision.reason, decision.message
            );
        }
        assert_eq!((told[0].from, told[told.len() - 1].to), (1, 1), "{told:?}");
        assert!(told.windows(2).all(|pair| pair[0].to == pair[1].from), "{told:?}");
        let top = told
            .iter()
            .position(|decision| decision.to == 4)
            .ok_or("never four")?;
        let (up, down) = told.split_at(top + 1);
        assert!(up.iter().all(|decision| decision.to > decision.from), "{told:?}");
        assert!(
            !down.is_empty()
                && down
                    .iter()
                    .all(|decision| decision.to < decision.from && decision.reason == "BelowTarget"),
            "{told:?}"
        );

        assert!(
            asked.lost.is_empty() && answered.lost.is_empty(),
            "{:?} {:?}",
            asked.lost,
            answered.lost
        );
        assert!(answered.answers() > 50, "{answered:?}");
        Ok(())
    })
    .await
}
