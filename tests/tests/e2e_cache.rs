//! Models in a folder of the node, by a real kubelet: fetched once, held by locks of the kernel, closed to others.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use sconce_contract::Artifact;
use sconce_crds::ModelDeployment;
use sconce_crds::training::Phase;
use sconce_tests::inspector::Inspector;
use sconce_tests::objects::with;
use sconce_tests::release::with_values;
use sconce_tests::room::{served, told};
use sconce_tests::shelf;
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::wait::until;
use sconce_tests::workload::{FLOWERS, THREE, claim, of_flowers, table};
use serde_json::{Value, json};

/// On the nodes; nobody else's.
const FOLDER: &str = "/var/lib/sconce/e2e-cache";
/// The user that servers run as.
const SERVER: Inspector = Inspector {
    user: 65532,
    read_only: false,
};
/// Which models there are, by digest, and whether a server holds each.
const MODELS: &str = "answer = {path.parent.name: held(path) for path in root.glob('*/sha256-*/.use')}";

/// How often the web server was asked for the weights of a model.
async fn downloads(site: &Site, artifact: &Artifact) -> sconce_tests::Result<usize> {
    shelf::times(site, &format!("{}/model.safetensors", hex(artifact))).await
}

fn hex(artifact: &Artifact) -> &str {
    artifact.digest.trim_start_matches("sha256:")
}

/// A deployment of the model as the web server has it.
fn deployment(site: &Site, name: &str, artifact: &Artifact) -> Value {
    let uri = format!("http://shelf.{}.svc/{name}/{}", site.namespace, hex(artifact));
    json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name},
        "spec": {
            "model": {"uri": uri, "digest": artifact.digest}, "cache": {"strategy": "Node"},
            "resources": {"cpu": "50m", "memory": "64Mi"},
        },
    })
}

/// Waits until a deployment serves and the condition Cached has the word, told by another pod than `before`.
async fn cached(site: &Site, name: &str, word: &str, before: &str) -> sconce_tests::Result<(String, String)> {
    let teller = |seen: &ModelDeployment| {
        let status = seen.status.as_ref();
        status
            .and_then(|status| status.cold_start.as_ref())
            .map(|cold| cold.pod.clone())
    };
    let what = format!("{name} is Cached {word} by another pod than {before:?}");
    let seen = site
        .see(name, &what, |seen: &ModelDeployment| {
            let by_another = teller(seen).is_some_and(|pod| pod != before);
            let ready = told(served(seen), "Ready").starts_with("True");
            by_another && ready && told(served(seen), "Cached").contains(word)
        })
        .await?;
    Ok((teller(&seen).unwrap_or_default(), told(served(&seen), "Cached")))
}

/// Deletes the pod that told of its start, so that another takes its place.
async fn another(
    site: &Site,
    name: &str,
    word: &str,
    before: &str,
) -> sconce_tests::Result<(String, String)> {
    site.delete::<Pod>(before).await?;
    cached(site, name, word, before).await
}

/// Trains two models of much the same size into the claim; bytes for one and a half of them.
async fn two_models(site: &Site) -> Result<(Artifact, Artifact, u64), Box<dyn std::error::Error>> {
    let kept = |name: &str, seed: u64| {
        let uri = format!("pvc://models/{name}");
        let changed = json!({"spec": {"output": {"uri": uri}, "hyperparameters": {"seed": seed}}});
        with(of_flowers(name), &changed)
    };
    site.apply_all([
        table("flowers", FLOWERS),
        claim("models"),
        kept("iris", 1),
        kept("other", 2),
    ])
    .await?;
    let mut artifacts = Vec::new();
    for name in ["iris", "other"] {
        let done = site.phase(name, Phase::Succeeded).await?;
        let artifact = done.status.and_then(|status| status.artifact);
        artifacts.push(artifact.ok_or("no artifact")?);
    }
    shelf::open(site).await?;
    let path = format!("/iris/{}/manifest.json", hex(&artifacts[0]));
    let manifest = site.fetch("shelf", &path).await?.len();
    let [iris, other] = <[Artifact; 2]>::try_from(artifacts).map_err(|_| "two models")?;
    // The manifest lies beside the files that it lists.
    let most = (iris.size_bytes + u64::try_from(manifest)?) * 3 / 2;
    Ok((iris, other, most))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_fetched_once_for_a_node_and_makes_room_only_when_no_server_holds_it() -> Outcome {
    in_a_namespace("cache", async |site| {
        // Folders of nodes are for such namespaces only.
        site.privileged().await?;
        let (iris, other, most) = two_models(site).await?;
        let values = [
            "nodeCache.enabled=true".to_owned(),
            format!("nodeCache.path={FOLDER:?}"),
            format!("nodeCache.sizeLimit=\"{most}\""),
        ];
        with_values(&values, async || {
            let empty = "for path in root.iterdir(): shutil.rmtree(path) if path.is_dir() else path.unlink()\nanswer = 1";
            SERVER.ask(site, FOLDER, empty).await?;
            let outcome = on_a_node(site, &iris, &other).await;
            SERVER.ask(site, FOLDER, empty).await?;
            outcome
        })
        .await
    })
    .await
}

async fn on_a_node(site: &Site, iris: &Artifact, other: &Artifact) -> Outcome {
    let entry = |artifact: &Artifact| artifact.digest.replace(':', "-");

    // One pod fetches the model. Another has it when its source is gone.
    site.apply(deployment(site, "iris", iris)).await?;
    let (first, _) = cached(site, "iris", "Fetched", "").await?;
    assert_eq!(downloads(site, iris).await?, 1);
    shelf::close(site).await?;
    let second_of_the_first = Timestamp::now().as_second();
    until("another second begins", async || {
        (Timestamp::now().as_second() > second_of_the_first).then_some(())
    })
    .await?;
    site.change::<ModelDeployment>("iris", json!({"spec": {"replicas": 2}}))
        .await?;
    cached(site, "iris", "Hit", &first).await?;
    let rows = json!({"instances": THREE});
    let answer = site.post("iris", "/v1/models/iris:predict", &rows).await?;
    assert_eq!(answer["predictions"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        SERVER.ask(site, FOLDER, MODELS).await?,
        json!({entry(iris): true})
    );
    closed_to_others(site).await?;

    // What is being served makes no room for another model.
    shelf::open(site).await?;
    site.apply(deployment(site, "other", other)).await?;
    let (past, says) = cached(site, "other", "NotCached", "").await?;
    assert!(
        says.starts_with("False") && says.contains("that cache.sizeLimit allows"),
        "{says}"
    );
    assert_eq!(
        SERVER.ask(site, FOLDER, MODELS).await?,
        json!({entry(iris): true})
    );

    // Once its servers are deleted, nobody holds it, and it does.
    site.delete::<ModelDeployment>("iris").await?;
    site.none("no pod serves iris", |pod: &Pod| {
        pod.labels()
            .get("sconce.dev/deployment")
            .is_some_and(|name| name == "iris")
    })
    .await?;
    assert_eq!(
        SERVER.ask(site, FOLDER, MODELS).await?,
        json!({entry(iris): false})
    );
    let (fetched, _) = another(site, "other", "Fetched", &past).await?;
    assert_eq!(
        SERVER.ask(site, FOLDER, MODELS).await?,
        json!({entry(other): true})
    );

    // Whoever runs as the servers' user may damage it: that is found, and fetched anew.
    let damage = "path, = root.glob('*/sha256-*/model.safetensors')\nbytes = bytearray(path.read_bytes())\n\
                  bytes[-1] ^= 1\npath.write_bytes(bytes)\nanswer = len(bytes)";
    SERVER.ask(site, FOLDER, damage).await?;
    let (_, says) = another(site, "other", "Fetched", &fetched).await?;
    assert!(says.contains("a copy in the cache was removed"), "{says}");

    site.delete::<ModelDeployment>("other").await?;
    site.none("no pod serves", |pod: &Pod| {
        pod.labels().contains_key("sconce.dev/deployment")
    })
    .await?;
    let left = "answer = [str(path) for path in root.rglob('*') if path.is_file() and held(path)]";
    assert_eq!(
        SERVER.ask(site, FOLDER, left).await?,
        json!([]),
        "a lock outlives its server"
    );
    Ok(())
}

/// A folder of the node is every namespace's: neither another user, nor root without capabilities, nor whoever mounts it
/// to read only, can change a model.
async fn closed_to_others(site: &Site) -> Outcome {
    let try_all =
        "answer = [refusal(lambda: list(root.iterdir())), refusal(lambda: (root / 'mine').write_text(''))]";
    for user in [1000, 0] {
        let other = Inspector {
            user,
            read_only: false,
        };
        let refused = other.ask(site, FOLDER, try_all).await?;
        assert_eq!(refused, json!(["EACCES", "EACCES"]), "user {user}");
    }
    let reader = Inspector {
        read_only: true,
        ..SERVER
    };
    let change = "model, = root.glob('*/sha256-*/model.safetensors')\n\
                  answer = [refusal(lambda: model.read_bytes()), refusal(lambda: model.write_text('')), \
                  refusal(model.unlink), refusal(lambda: model.parent.rename(root / 'gone'))]";
    assert_eq!(
        reader.ask(site, FOLDER, change).await?,
        json!(["", "EROFS", "EROFS", "EROFS"])
    );
    Ok(())
}
