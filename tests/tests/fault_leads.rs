//! Of several operators one writes, whatever becomes of it or of its way to the API server. They are the unmodified
//! program, each behind a proxy of its own ([`sconce_tests::fault`]).

use std::process::ExitStatus;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use sconce_tests::fault::{Fault, FaultProxy, Write};
use sconce_tests::operator::{Operator, Options};
use sconce_tests::scene::{PATIENCE, Scene};
use sconce_tests::wait::{until, within};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A room with two operators, the first of which leads.
struct Pair {
    scene: Scene,
    first: Option<Operator>,
    other: FaultProxy,
    _second: Operator,
    options: [Options; 2],
}

impl Pair {
    async fn start() -> Outcome<Self> {
        let scene = Scene::set().await?;
        let original = scene.room.world.options();
        let other = FaultProxy::start(&original.kubeconfig).await?;
        let mut options = [scene.options.clone(), scene.options.clone()];
        options[1].kubeconfig = other.kubeconfig(&original.kubeconfig)?;
        "sconce-a".clone_into(&mut options[0].identity);
        "sconce-b".clone_into(&mut options[1].identity);
        let first = Operator::start(&options[0])?;
        leads(&first, "the first").await?;
        let second = Operator::start(&options[1])?;
        until("the second waits", async || {
            let said = second.get("/metrics").ok()?;
            said.contains("sconce_operator_leader 0\n").then_some(())
        })
        .await?;
        Ok(Self {
            scene,
            first: Some(first),
            other,
            _second: second,
            options,
        })
    }

    /// How the first ended, once it has.
    fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.first.as_mut().map(Operator::ended).transpose()?.flatten())
    }

    async fn works_on(&self, name: &str) -> Outcome {
        self.scene.train_and_serve(name).await?;
        self.has_job(name).await
    }

    async fn has_job(&self, name: &str) -> Outcome {
        let has = async || {
            let jobs = self.scene.room.ours::<Job>().await.ok()?;
            jobs.iter().any(|job| job.starts_with(name)).then_some(())
        };
        Ok(within(PATIENCE, &format!("somebody works on {name}"), has).await?)
    }

    async fn holder(&self) -> Outcome<Option<String>> {
        let leases: Api<Lease> = Api::namespaced(self.scene.room.client.clone(), "sconce-system");
        let lease = leases
            .get(&format!("sconce-operator-{}", self.scene.room.namespace))
            .await?;
        Ok(lease.spec.and_then(|spec| spec.holder_identity))
    }

    async fn is_held_by(&self, holder: &str) -> Outcome {
        let holds = async || (self.holder().await.ok()?.as_deref() == Some(holder)).then_some(());
        Ok(within(PATIENCE, &format!("{holder} leads"), holds).await?)
    }

    /// The first's last write came before the second's first.
    fn one_after_the_other(&self) {
        let last = self.scene.proxy.writes().last().map(|write| write.at);
        let next = self.other.writes().first().map(|write| write.at);
        assert!(last.is_some() && next.is_some(), "one of them wrote nothing");
        assert!(last < next, "the two wrote at the same time");
    }
}

async fn leads(operator: &Operator, who: &str) -> Outcome {
    let says = async || {
        let said = operator.get("/metrics").ok()?;
        said.contains("sconce_operator_leader 1\n").then_some(())
    };
    Ok(within(PATIENCE, &format!("{who} leads"), says).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_of_two_operators_one_writes_and_the_other_takes_over_within_the_lease() -> Outcome {
    let mut pair = Pair::start().await?;
    pair.works_on("before").await?;
    assert!(
        pair.other.writes().is_empty(),
        "the second wrote while the first led"
    );
    // SIGKILL: the lease stays held.
    pair.first = None;
    pair.is_held_by("sconce-a").await?;
    pair.scene.train_and_serve("after").await?;
    pair.has_job("after").await?;
    pair.is_held_by("sconce-b").await?;
    pair.one_after_the_other();
    pair.scene.are_ready("", 4).await?;
    Ok(pair.scene.strike().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_leader_that_is_cut_off_ends_and_only_the_other_writes() -> Outcome {
    let mut pair = Pair::start().await?;
    pair.works_on("before").await?;
    pair.scene.proxy.freeze();
    // It may find something to do as long as its watches were shown something before.
    pair.scene.train_and_serve("meanwhile").await?;
    let ended = within(PATIENCE, "the one that is cut off ends", async || {
        pair.ended().ok().flatten()
    })
    .await?;
    assert!(!ended.success(), "it ended as if it had been asked to: {ended}");
    assert_eq!(
        pair.holder().await?.as_deref(),
        Some("sconce-a"),
        "it led beyond its lease"
    );
    assert!(pair.other.writes().is_empty(), "the second wrote too early");
    pair.is_held_by("sconce-b").await?;
    pair.has_job("meanwhile").await?;
    // The kubelet starts it again, and the way is free again.
    pair.scene.proxy.thaw();
    let writes = pair.scene.proxy.writes().len();
    pair.first = Some(Operator::start(&pair.options[0])?);
    pair.works_on("after").await?;
    pair.scene.are_ready("", 6).await?;
    assert_eq!(
        pair.scene.proxy.writes().len(),
        writes,
        "it wrote while the second led"
    );
    pair.one_after_the_other();
    println!(
        "{} writes of the first, {} of the second, {} tried without a way",
        writes,
        pair.other.writes().len(),
        pair.scene.proxy.stopped().len()
    );
    Ok(pair.scene.strike().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_renewal_that_failed_is_tried_again_and_the_operator_goes_on_leading() -> Outcome {
    let mut pair = Pair::start().await?;
    // Refused, refused, carried out and not said so, not answered: each time the next one passes.
    let faults = [
        Fault::Answer(500),
        Fault::Answer(409),
        Fault::AnswerAfter(500),
        Fault::Silence,
    ];
    let (count, told) = std::sync::mpsc::channel();
    let mut renewals = 0;
    pair.scene.proxy.renewals(move |_: &Write| {
        let fault = if renewals % 2 == 0 {
            faults.get(renewals / 2).copied().unwrap_or(Fault::None)
        } else {
            Fault::None
        };
        renewals += 1;
        // An error means that the test is over.
        let _ = count.send(fault);
        fault
    });
    let mut met = Vec::new();
    within(PATIENCE, "all these renewals were met", async || {
        met.extend(told.try_iter().filter(|fault| *fault != Fault::None));
        (met.len() == faults.len()).then_some(())
    })
    .await?;
    assert_eq!(met, faults);
    // Another one has passed since.
    until("the lease is renewed", async || {
        told.try_iter().any(|fault| fault == Fault::None).then_some(())
    })
    .await?;
    assert_eq!(pair.ended()?, None);
    assert_eq!(pair.holder().await?.as_deref(), Some("sconce-a"));
    pair.works_on("after").await?;
    assert!(
        pair.other.writes().is_empty(),
        "the second wrote while the first led"
    );
    Ok(pair.scene.strike().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_leader_that_cannot_renew_ends_before_its_lease_and_writes_no_more() -> Outcome {
    let mut pair = Pair::start().await?;
    pair.works_on("before").await?;
    pair.scene.proxy.renewals(|_: &Write| Fault::Answer(500));
    // Everything else passes: there is always something to write.
    let mut number = 0;
    let ended = loop {
        if let Some(ended) = pair.ended()? {
            break ended;
        }
        pair.scene.rescale("before", 1 + number % 2).await?;
        number += 1;
        assert!(number < 300, "it goes on without a lease");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(!ended.success(), "it ended as if it had been asked to: {ended}");
    assert_eq!(
        pair.holder().await?.as_deref(),
        Some("sconce-a"),
        "it led beyond its lease"
    );
    assert!(pair.other.writes().is_empty(), "the second wrote too early");
    pair.is_held_by("sconce-b").await?;
    pair.works_on("after").await?;
    pair.one_after_the_other();
    pair.scene.are_ready("", 4).await?;
    Ok(pair.scene.strike().await?)
}
