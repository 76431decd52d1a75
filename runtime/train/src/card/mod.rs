//! The model card: what an artifact is, for whoever finds its folder.
//!
//! `README.md` with `curves.png`, as GitHub and the Hugging Face Hub show it. It is beside the model and not of it: no
//! digest depends on it, and a training whose picture cannot be drawn has a card without. Nothing in it tells the time,
//! so the same run has the same card, however often it was interrupted.

mod data;
mod front;
mod markdown;
mod model;
mod picture;
mod results;
mod usage;

use std::collections::BTreeMap;

use sconce_contract::artifact::{CARD_FILE, CURVES_FILE};
use sconce_contract::{Artifact, History, Incumbent, Manifest, Network, Preprocess, TrainingPlan};

use crate::track::Curve;

/// What a card tells of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What was asked for.
    pub plan: &'a TrainingPlan,
    /// The network that was learned.
    pub network: &'a Network,
    /// How a row becomes its input.
    pub preprocess: &'a Preprocess,
    /// Rows to learn from, watched and held out.
    pub rows: [u64; 3],
    /// What was to be beaten.
    pub incumbent: Option<&'a Incumbent>,
    /// How the losses went.
    pub history: &'a History,
    /// What was known after epochs.
    pub curve: &'a Curve,
    /// What is in the artifact.
    pub manifest: &'a Manifest,
    /// Where it is.
    pub artifact: &'a Artifact,
}

impl Subject<'_> {
    /// The classes; none where a number is predicted.
    fn classes(&self) -> &[String] {
        self.preprocess.target.classes.as_deref().unwrap_or_default()
    }

    fn is_of_images(&self) -> bool {
        self.plan.dataset.images.is_some()
    }
}

/// The card's files by their names.
pub fn files(subject: &Subject<'_>) -> BTreeMap<String, Vec<u8>> {
    let picture = picture::drawn(subject);
    if let Err(error) = &picture {
        tracing::warn!(%error, "the model card has no picture");
    }
    let picture = picture.ok().flatten();
    let text = text(subject, picture.is_some());
    let mut files = BTreeMap::from([(CARD_FILE.to_owned(), text.into_bytes())]);
    files.extend(picture.map(|bytes| (CURVES_FILE.to_owned(), bytes)));
    files
}

fn text(subject: &Subject<'_>, has_picture: bool) -> String {
    let mut parts = vec![
        front::matter(subject),
        front::introduction(subject),
        results::section(subject),
    ];
    if has_picture {
        parts.push(format!(
            "![How loss and metrics went over the steps]({CURVES_FILE})\n"
        ));
    }
    parts.push(data::section(subject));
    parts.push(model::network(subject));
    parts.push(model::settings(subject));
    parts.push(usage::section(subject));
    parts.push(usage::limits(subject));
    parts.join("\n")
}
