//! Which column of the header is what.

use std::collections::HashMap;

use super::{TableError, suggest::suggestion};

/// Positions of the columns that are used.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    /// Name and position of each feature, in the order of the network's inputs.
    pub(super) features: Vec<(String, usize)>,
    /// Position of the target.
    pub(super) target: usize,
    /// Columns in all.
    pub(super) count: usize,
}

impl Columns {
    /// Whether a feature or the target is read from this place in the header.
    pub(super) fn uses(&self, position: usize) -> bool {
        self.target == position || self.features.iter().any(|(_, feature)| *feature == position)
    }
}

/// The field that names the features, unless they are texts.
pub(super) const FEATURES: &str = "dataset.features";

/// Finds the columns; no features, which `field` names, means all but the target.
pub(super) fn find(
    header: &[String],
    target: &str,
    field: &'static str,
    features: &[String],
) -> Result<Columns, TableError> {
    let mut positions = HashMap::new();
    for (position, name) in header.iter().enumerate() {
        if positions.insert(name.as_str(), position).is_some() && !name.is_empty() {
            return Err(TableError::DuplicateColumn(name.clone()));
        }
    }
    let find = |field: &'static str, name: &str| {
        positions
            .get(name)
            .copied()
            .ok_or_else(|| TableError::MissingColumn {
                field,
                name: name.to_owned(),
                suggestion: suggestion(name, header),
            })
    };
    let target_position = find("dataset.target", target)?;
    let features = if features.is_empty() {
        let others = header
            .iter()
            .enumerate()
            .filter(|(position, _)| *position != target_position);
        others
            .map(|(position, name)| (name.clone(), position))
            .collect::<Vec<_>>()
    } else {
        let named = features.iter().map(|name| Ok((name.clone(), find(field, name)?)));
        named.collect::<Result<_, TableError>>()?
    };
    if features.is_empty() {
        return Err(TableError::NoFeatures(target.to_owned()));
    }
    if let Some((_, position)) = features.iter().find(|(name, _)| name.is_empty()) {
        return Err(TableError::UnnamedColumn {
            position: position + 1,
        });
    }
    Ok(Columns {
        features,
        target: target_position,
        count: header.len(),
    })
}
