//! Where each parameter lies when all of them are one piece of memory.

use std::ops::Range;

/// The parameters of a network, one after another in the order of its layers. Weights, gradients and what an
/// optimiser remembers are all laid out so: one pass over the memory is a step of the whole network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    entries: Vec<Parameter>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// Its name in a file of weights.
    pub(crate) name: String,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// Its place in the memory.
    pub(crate) range: Range<usize>,
}

impl Parameters {
    /// Puts a parameter behind the others and answers its place.
    pub(crate) fn push(&mut self, name: String, shape: Vec<usize>) -> Range<usize> {
        let range = self.len()..self.len() + shape.iter().product::<usize>();
        self.entries.push(Parameter {
            name,
            shape,
            range: range.clone(),
        });
        range
    }

    /// Numbers in all.
    pub(crate) fn len(&self) -> usize {
        self.entries.last().map_or(0, |last| last.range.end)
    }

    /// One after another.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.entries.iter()
    }
}
