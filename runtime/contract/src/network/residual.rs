//! What goes into some layers is added to what comes out of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::{LayerSpec, Misfit, Outline, Shape, bounded};

/// The end of layers whose output is added to their input (He et al. 2016). The layers themselves stand before it: a
/// schema of Kubernetes cannot say that a layer has layers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Residual {
    /// How many of the layers before it (1 to 16).
    #[schemars(range(min = 1, max = 16))]
    pub over: u32,
}

impl Residual {
    /// The layer whose input is added, where this is layer `index`. `before` are all before it.
    ///
    /// # Errors
    /// When there are not so many, or they make something else of a row.
    pub fn begins(&self, index: usize, before: &[Outline]) -> Result<usize, Misfit> {
        let over = bounded("over", self.over, 1..=16)?;
        let first = usize::try_from(over)
            .ok()
            .and_then(|over| index.checked_sub(over));
        let Some((first, outline)) = first.and_then(|first| Some((first, before.get(first)?))) else {
            let problem =
                format!("there are {index} layer(s) before it, not {over}: lower it to {index} or less");
            return Err(Misfit::new("over", problem));
        };
        let last = before.last().map_or(outline.input, |last| last.output);
        if last != outline.input {
            let problem = format!(
                "the {over} layer(s) before it make {last} of {}, to which it cannot be added: let the last of them give {} \
                 channels, with stride 1 and padding Same",
                outline.input,
                outline.input.channels()
            );
            return Err(Misfit::of_size("over", problem));
        }
        Ok(first)
    }
}

impl LayerSpec for Residual {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        Outline::new(input, input)
    }
}
