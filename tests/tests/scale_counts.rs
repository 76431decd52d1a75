//! Many objects cost few writes each, and once all is said, nothing more is written: not at rest, not at a restart.
//! Counts only; `make bench-operator` measures times.

use std::time::{Duration, Instant};

use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use sconce_crds::condition::is_true;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::audit::Writes;
use sconce_tests::hollow::{CLAIM, Hollow};
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{deployment_of_uri, gpu_profile, training, with};
use sconce_tests::operator::{Operator, Options, SERVER_IMAGE};
use sconce_tests::room::{conditions, served};
use sconce_tests::wait::within;
use sconce_tests::{ControlPlane, world};
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Objects of each kind.
const COUNT: usize = 100;
const NAMESPACE: &str = "crowd";
const USER: &str = "system:serviceaccount:sconce-system:sconce";
/// What the operator rations (`sconce_operator::pace`; its own tests hold it to that).
const BURST: u32 = 50;
const PER_SECOND: u32 = 10;
/// The machine may be busy with a build.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn scale_a_hundred_of_each_kind_write_each_child_once_and_nothing_at_rest_or_restart() -> Outcome {
    let plane = ControlPlane::builder()
        .controller_manager()
        .scheduler()
        .audited()
        .unthrottled()
        .start()
        .await?;
    let client = plane.client();
    world::install(&client, &["dist/sconce.yaml"]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    world::apply(&client, namespace).await?;
    for node in 0..COUNT.div_ceil(4) {
        let node = FakeNode::named(&format!("gpu-{node}"));
        node.resource("nvidia.com/gpu", "8").create(&client).await?;
    }
    world::apply(&client, gpu_profile("simulated")).await?;
    Hollow::claim(&client, NAMESPACE, CLAIM).await?;
    let _hollow = Hollow::start(client.clone());
    let options = Options {
        kubeconfig: plane
            .kubeconfig_of_service_account("sconce-system", "sconce")
            .await?,
        log: plane.folder().join("operator.log"),
        identity: "sconce-0".to_owned(),
        server_image: SERVER_IMAGE.to_owned(),
        node_cache: None,
        namespace: None,
        program: None,
    };
    let operator = Operator::start(&options)?;
    let writes = || -> Result<Writes, sconce_tests::Error> { Ok(plane.writes()?.of(USER)) };

    let trainings: Api<ModelTraining> = Api::namespaced(client.clone(), NAMESPACE);
    let deployments: Api<ModelDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    let started = Instant::now();
    for number in 0..COUNT {
        let uri = format!("pvc://{CLAIM}/{number}");
        let gpu = json!({"spec": {"accelerator": {"profile": "simulated"}}});
        let asked = with(
            training(&format!("train-{number}")),
            &json!({"spec": {"output": {"uri": uri}}}),
        );
        let asked = serde_json::from_value(with(asked, &gpu))?;
        trainings.create(&PostParams::default(), &asked).await?;
        let asked = with(deployment_of_uri(&format!("serve-{number}"), &uri), &gpu);
        deployments
            .create(&PostParams::default(), &serde_json::from_value(asked)?)
            .await?;
    }
    within(PATIENCE, "all are ready", async || {
        (ready(&client).await? == 2 * COUNT).then_some(())
    })
    .await?;
    let took = started.elapsed();
    silence(&writes).await?;
    // A create that met its like, because a watch was late, has changed nothing.
    let carried_out = writes()?.0.into_iter().filter(|write| write.code < 300);
    let all = Writes(carried_out.collect());
    let kinds = all.by_kind();
    let count = |kind: &str| kinds.get(kind).copied().unwrap_or(0);
    // Each child once: whoever writes it twice has not looked.
    for (kind, expected) in [
        ("create jobs", COUNT),
        ("patch deployments", COUNT),
        ("patch services", COUNT),
    ] {
        assert_eq!(count(kind), expected, "{kind}: {kinds:?}");
    }
    // Each object tells once how it came out, and of what goes on before that, all together tell so much.
    let told = count("patch modeltrainings/status") + count("patch modeldeployments/status");
    let ration = BURST as usize + (took.as_secs() as usize + 1) * PER_SECOND as usize;
    assert!(told <= 2 * COUNT + ration, "in {took:?}: {kinds:?}");
    let events = count("create events") + count("patch events");
    assert!(events <= COUNT, "a flood of events is cut off: {kinds:?}");
    println!(
        "{:.2} writes an object, and {:.2} events, in {took:?}: {kinds:?}",
        (all.count() - events) as f64 / (2 * COUNT) as f64,
        events as f64 / (2 * COUNT) as f64
    );

    let before = writes()?.count();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = writes()?.since(before);
    assert_eq!(idle.count(), 0, "writes at rest: {:?}", idle.by_kind());

    tokio::task::spawn_blocking(|| operator.terminate()).await??;
    let operator = Operator::start(&options)?;
    within(PATIENCE, "every object was looked at", async || {
        (reconciles(&operator) >= 2 * COUNT).then_some(())
    })
    .await?;
    silence(&writes).await?;
    let again = writes()?.since(before);
    assert_eq!(again.count(), 0, "writes at a restart: {:?}", again.by_kind());
    Ok(())
}

async fn ready(client: &Client) -> Option<usize> {
    let parameters = ListParams::default();
    let trainings: Api<ModelTraining> = Api::namespaced(client.clone(), NAMESPACE);
    let deployments: Api<ModelDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let trainings = trainings.list(&parameters).await.ok()?.items;
    let deployments = deployments.list(&parameters).await.ok()?.items;
    let trained = trainings
        .iter()
        .filter(|one| is_true(conditions(one), "Ready"))
        .count();
    let serving = deployments
        .iter()
        .filter(|one| is_true(served(one), "Ready"))
        .count();
    Some(trained + serving)
}

/// Waits until nothing has been written for two seconds.
async fn silence(writes: &impl Fn() -> Result<Writes, sconce_tests::Error>) -> Outcome {
    let (mut count, mut since) = (writes()?.count(), Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = writes()?.count();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    Ok(())
}

fn reconciles(operator: &Operator) -> usize {
    let text = operator.get("/metrics").unwrap_or_default();
    let counts = text
        .lines()
        .filter(|line| line.starts_with("sconce_operator_reconciles_total"));
    counts
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok())
        .sum()
}
