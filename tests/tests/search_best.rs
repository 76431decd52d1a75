//! A search reaches the trainer's plan as it was said, and its best trial the status; one that cannot be carried out is
//! refused before a pod is made.

use k8s_openapi::api::batch::v1::Job;
use sconce_contract::search::TrialNote;
use sconce_contract::{
    BestTrial, MetricName, Progress, Report, SearchReport, TrainingPhase, TrainingPlan, Trials,
};
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::objects::{plan, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use sconce_tests::trainer::FakeTrainer;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const RATE: &str = "hyperparameters.optimizer.learningRate";

fn searched(space: &Value) -> Value {
    let search = json!({
        "algorithm": "TPE", "objective": {"metric": "accuracy"}, "maxTrials": 24, "parallelTrials": 2, "space": space,
    });
    let split = json!({"validation": 0.2, "test": 0.2});
    with(
        training("iris"),
        &json!({"spec": {"search": search, "dataset": {"split": split}}}),
    )
}

fn rates() -> Value {
    json!([{"path": RATE, "logUniform": {"min": 0.0001, "max": 0.1}}, {"path": "hyperparameters.batchSize", "choice": [8, 32]}])
}

#[tokio::test(flavor = "multi_thread")]
async fn search_reaches_the_plan_and_its_best_trial_the_status() -> Outcome {
    let room = Room::open().await?;
    room.apply(searched(&rates())).await?;
    let pod = room.kubelet.trainer("iris").await?;
    let object = room.training_says("iris", "Pending").await?;
    let status = object.status.clone().unwrap_or_default();
    let job = room.get::<Job>(&status.job.unwrap_or_default()).await?;
    let written: TrainingPlan = plan(job.spec.as_ref().map(|spec| &spec.template))?;
    let search = written.search.ok_or("the plan has no search")?;
    assert_eq!(Some(&search), object.spec.search.as_ref());
    assert_eq!(search.space[1].choice, [json!(8), json!(32)]);

    room.kubelet.takes(&pod).await?;
    let said = Progress {
        run: status.run.unwrap_or_default(),
        phase: TrainingPhase::Training,
        epochs: 10,
        step: 500,
        total_steps: 1000,
        trials: Some(Trials {
            finished: 11,
            total: 24,
            best: Some(0.93),
        }),
        ..Progress::default()
    };
    let trainer = FakeTrainer::start(said).await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    let seen = room
        .see(
            "iris",
            "half of the search is done",
            |training: &ModelTraining| {
                let progress = training
                    .status
                    .as_ref()
                    .and_then(|status| status.progress.as_ref());
                progress.is_some_and(|progress| progress.summary == "50% (trial 12/24)")
            },
        )
        .await?;
    let says = told(conditions(&seen), "Running");
    assert!(
        says.contains("searching: 11 of 24 trials are done, the best so far reached 0.93"),
        "{says}"
    );

    let best = BestTrial {
        trial: 7,
        value: 0.97,
        parameters: [
            (RATE.to_owned(), json!(0.0123)),
            ("hyperparameters.batchSize".to_owned(), json!(8)),
        ]
        .into(),
        trials: 24,
        failed: 1,
        stopped: 0,
    };
    let mut report = trained("iris-artifacts", 'a', 0.97);
    if let Report::Trained { search, .. } = &mut report {
        *search = Some(Box::new(SearchReport {
            metric: MetricName::Accuracy,
            best: best.clone(),
            space: vec![RATE.to_owned(), "hyperparameters.batchSize".to_owned()],
            trials: vec![TrialNote {
                trial: 7,
                with: vec![json!(0.0123), json!(8)],
                epochs: 10,
                value: Some(0.97),
            }],
        }));
    }
    room.kubelet.ends(&pod, &report).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert_eq!(done.status.and_then(|status| status.best_trial), Some(best));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn search_that_cannot_be_carried_out_is_refused_by_its_field() -> Outcome {
    let room = Room::open().await?;
    for (space, says) in [
        (
            json!([{"path": "hyperparameters.optimizer.rate", "uniform": {"min": 0.1, "max": 0.2}}]),
            "spec.search.space[0].path: there is no hyperparameters.optimizer.rate: hyperparameters.optimizer has \
             learningRate, momentum, nesterov, type, weightDecay",
        ),
        (
            json!([{"path": "hyperparameters.optimizer.type", "choice": ["Adam", "Sgd"]}]),
            "spec.search.space[0].choice[1]: hyperparameters.optimizer.type cannot be \"Sgd\": unknown variant",
        ),
    ] {
        room.apply(searched(&space)).await?;
        room.see("iris", says, |training: &ModelTraining| {
            told(conditions(training), "Accepted").contains(says)
        })
        .await?;
        assert!(room.ours::<Job>().await?.is_empty(), "a pod was made");
    }
    // Mended, it starts.
    room.apply(searched(&rates())).await?;
    room.kubelet.trainer("iris").await?;
    Ok(room.close()?)
}
