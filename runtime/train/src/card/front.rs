//! What the Hugging Face Hub reads of a card (<https://huggingface.co/docs/hub/model-cards>), and its first lines.

use sconce_contract::MetricSplit;
use sconce_store::shown;

use super::Subject;
use super::markdown::{code, grouped, plain, quoted};

/// The YAML between two lines of dashes.
pub(super) fn matter(subject: &Subject<'_>) -> String {
    let task = task(subject);
    let mut text = format!(
        "---\nlibrary_name: sconce\npipeline_tag: {task}\ntags:\n- sconce\n- safetensors\nmodel-index:\n- name: {}\n  \
         results:\n  - task:\n      type: {task}\n    dataset:\n      name: {}\n      type: {}\n    metrics:\n",
        quoted(&subject.plan.name),
        quoted(&shown(&subject.plan.dataset.uri)),
        quoted(&format!("sha256:{}", subject.manifest.data.sha256)),
    );
    let held_out = subject.manifest.metrics.first().map(|metric| metric.split);
    let measured = subject
        .manifest
        .metrics
        .iter()
        .filter(|metric| Some(metric.split) == held_out && metric.split != MetricSplit::Train);
    let mut count = 0;
    for metric in measured {
        count += 1;
        text += &format!("    - type: {}\n      value: {}\n", metric.name, metric.value);
    }
    if count == 0 {
        text.truncate(text.find("model-index:").unwrap_or(text.len()));
    }
    text + "---\n"
}

fn task(subject: &Subject<'_>) -> &'static str {
    match (subject.is_of_images(), subject.classes().is_empty()) {
        (true, false) => "image-classification",
        (_, false) => "tabular-classification",
        (_, true) => "tabular-regression",
    }
}

/// The title, and what it does in a sentence.
pub(super) fn introduction(subject: &Subject<'_>) -> String {
    let plan = subject.plan;
    let target = code(&subject.preprocess.target.name);
    let classes = subject.classes();
    let what = match classes.len() {
        0 => format!("Predicts the number {target}"),
        1..=6 => {
            let names: Vec<String> = classes.iter().map(|name| plain(name)).collect();
            format!("Predicts {target} ({})", names.join(", "))
        }
        count => format!("Predicts {target}, one of {count} classes,"),
    };
    let from = match (subject.is_of_images(), plan.dataset.images) {
        (true, Some(images)) => format!(
            "pictures of {} x {} pixels and {} channel(s)",
            images.height, images.width, images.channels
        ),
        _ => format!("{} column(s) of a table", subject.preprocess.features.len()),
    };
    format!(
        "# {}\n\n{what} from {from}. Learned from {} rows by {}.\n\n- digest {}\n- run {}\n",
        plain(&plan.name),
        grouped(subject.rows[0]),
        subject.manifest.trainer,
        code(&subject.artifact.digest),
        code(&plan.run),
    )
}
