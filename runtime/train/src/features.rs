//! What is measured of each feature on the rows that are learned from: its scale, what takes the place of a missing
//! value, and what the manifest says of it.

use rayon::prelude::*;
use sconce_contract::{ColumnFacts, Dataset, Encoding, Feature, Missing, TextFacts, TextWords, Vocabulary};
use sconce_model::text;

use crate::moments::Moments;
use crate::scratch::ScratchError;
use crate::table::{self, Table, Texts};

/// Most bytes of columns in memory that are gathered at once, and most columns: a line of the processor's cache has 16
/// values.
const GATHERED: u64 = 64 << 20;
const AT_ONCE: usize = 16;

/// The features of a table as the artifact keeps them, with what they hold, over these rows of it.
///
/// The scale is the standard deviation of the rows themselves (divided by their number); 1 for a column that is
/// constant there, and where none is wanted.
///
/// # Errors
/// Where the rows are on disk and cannot be read.
pub fn measure(
    table: &Table,
    rows: &[usize],
    dataset: &Dataset,
    most: u64,
) -> Result<Vec<(Feature, ColumnFacts)>, ScratchError> {
    let rows = &in_order(rows, table.rows());
    let mut next = 0;
    let places = table.features.iter().map(|feature| {
        next += feature.width();
        (next - feature.width(), feature)
    });
    let places: Vec<(usize, &table::Feature)> = places.collect();
    // Rows on disk are read by one, as few times as may be.
    let column = 4 * rows.len().max(1) as u64;
    let in_memory = table.stored.is_none() && dataset.missing != Missing::Median;
    let threads = match &table.stored {
        None => usize::try_from(most / column).unwrap_or(usize::MAX),
        Some(_) => 1,
    };
    let threads = threads.clamp(1, rayon::current_num_threads());
    let each = places.len().div_ceil(threads).max(1);
    let some = places.par_chunks(each).map(|some| {
        let mut columns = Columns::of(table, rows, most / threads as u64);
        let of_numbers = |feature: &table::Feature| feature.words.is_none() && feature.texts.is_none();
        let together = match some {
            [(first, _), .., (last, _)]
                if in_memory && some.iter().all(|(_, feature)| feature.texts.is_none()) =>
            {
                Moments::of_columns(table, rows, *first..last + 1)
            }
            _ => Vec::new(),
        };
        let mut together = together.into_iter();
        let measured = some.iter().map(|(place, feature)| {
            let there = together.next().flatten().filter(|_| of_numbers(feature));
            match there {
                Some(there) => Ok(of_whole_column(&feature.name, &there, dataset)),
                None => of(&mut columns, *place, feature, dataset),
            }
        });
        measured.collect::<Result<Vec<_>, ScratchError>>()
    });
    let measured: Vec<Vec<_>> = some.collect::<Result<_, _>>()?;
    Ok(measured.into_iter().flatten().collect())
}

/// The rows as they stand in the table, so that memory is read from one end to the other.
fn in_order(rows: &[usize], all: usize) -> Vec<usize> {
    let mut is_one = vec![false; all];
    rows.iter().for_each(|row| is_one[*row] = true);
    (0..all).filter(|row| is_one[*row]).collect()
}

fn of(
    columns: &mut Columns<'_>,
    place: usize,
    feature: &table::Feature,
    dataset: &Dataset,
) -> Result<(Feature, ColumnFacts), ScratchError> {
    Ok(match (&feature.texts, &feature.words) {
        (Some(texts), _) => of_texts(columns, place, &feature.name, texts, dataset)?,
        (None, Some(words)) => columns.at(place)?.of_words(&feature.name, words, dataset),
        (None, None) => columns.at(place)?.of_numbers(&feature.name, dataset),
    })
}

/// Of numbers of which none is missing.
fn of_whole_column(name: &str, there: &Moments, dataset: &Dataset) -> (Feature, ColumnFacts) {
    let (mean, scale) = match dataset.standardize {
        true => there.scale(),
        false => (0.0, 1.0),
    };
    let feature = Feature {
        missing: dataset.missing.fills().then_some(there.mean),
        ..Feature::number(name, mean, scale)
    };
    (feature, there.facts(name, 0))
}

/// The columns of some rows, a few at a time, each in one piece: column after column in a table whose rows follow each
/// other, every value would be far from the one before.
struct Columns<'a> {
    table: &'a Table,
    rows: &'a [usize],
    width: usize,
    /// The columns that are gathered, one after another.
    gathered: Vec<f32>,
    /// The first of them.
    first: usize,
    /// Of rows on disk, the index of each among `rows`.
    places: Vec<u32>,
    /// Most columns that are gathered at once.
    at_once: usize,
}

impl<'a> Columns<'a> {
    fn of(table: &'a Table, rows: &'a [usize], most: u64) -> Self {
        let bytes = 4 * rows.len().max(1) as u64;
        let mut places = Vec::new();
        let at_once = match &table.stored {
            None => usize::try_from(most.min(GATHERED) / bytes)
                .unwrap_or(AT_ONCE)
                .min(AT_ONCE),
            Some(_) => {
                places.resize(table.rows(), u32::MAX);
                (0..).zip(rows).for_each(|(index, row)| places[*row] = index);
                // Each time, all rows are read.
                usize::try_from(most / bytes).unwrap_or(usize::MAX)
            }
        };
        Columns {
            places,
            at_once: at_once.max(1),
            table,
            rows,
            width: table.width(),
            gathered: Vec::new(),
            first: 0,
        }
    }

    /// The column of that place in a row.
    fn at(&mut self, place: usize) -> Result<Column<'_>, ScratchError> {
        let count = self.rows.len();
        let held = self.gathered.len() / count.max(1);
        if !(self.first..self.first + held).contains(&place) {
            self.gather(place, self.at_once.min(self.width - place))?;
        }
        let start = (place - self.first) * count;
        Ok(Column {
            values: &self.gathered[start..start + count],
        })
    }

    fn gather(&mut self, first: usize, columns: usize) -> Result<(), ScratchError> {
        let count = self.rows.len();
        self.first = first;
        self.gathered.resize(columns * count, 0.0);
        let gathered = &mut self.gathered;
        let mut take = |index: usize, row: &[f32]| {
            for (column, value) in row[first..first + columns].iter().enumerate() {
                gathered[column * count + index] = *value;
            }
        };
        if self.table.stored.is_none() {
            for (index, row) in self.rows.iter().enumerate() {
                take(
                    index,
                    &self.table.values[row * self.width..(row + 1) * self.width],
                );
            }
            return Ok(());
        }
        self.table.each(|row, values| {
            let index = self.places[row] as usize;
            if index < count {
                take(index, values);
            }
            Ok(())
        })
    }
}

/// Some rows of a column.
struct Column<'a> {
    values: &'a [f32],
}

/// The most frequent words, as many as the vocabulary has room for.
fn of_texts(
    columns: &mut Columns<'_>,
    start: usize,
    name: &str,
    texts: &Texts,
    dataset: &Dataset,
) -> Result<(Feature, ColumnFacts), ScratchError> {
    let mut counts = vec![0_u64; texts.words.len()];
    for place in start..start + texts.length {
        // NaN, the place of a missing text's words, is no place either.
        let words = columns.at(place)?.values.iter().filter(|place| **place >= 0.0);
        words.for_each(|place| counts[*place as usize] += 1);
    }
    let missing = columns.at(start)?.missing();
    let mut known: Vec<(&String, u64)> = texts.words.iter().zip(counts).collect();
    known.retain(|(_, count)| *count > 0);
    known.sort_unstable_by(|(word, count), (other, others)| others.cmp(count).then(word.cmp(other)));
    let all: u64 = known.iter().map(|(_, count)| count).sum();
    let different = known.len() as u64;
    let room = dataset.text.as_ref().map_or(0, |text| text.vocabulary as usize);
    known.truncate(room.saturating_sub(text::FIRST));
    let held: u64 = known.iter().map(|(_, count)| count).sum();
    let facts = ColumnFacts {
        name: name.to_owned(),
        missing,
        words: None,
        numbers: None,
        texts: Some(TextFacts {
            texts: columns.rows.len() as u64 - missing,
            words: different,
            kept: known.len() as u64,
            unknown: (all - held) as f64 / all.max(1) as f64,
        }),
    };
    let feature = Feature {
        missing: dataset.missing.fills().then_some(f64::from(text::PADDING)),
        text: Some(TextWords {
            length: texts.length as u32,
            words: known.into_iter().map(|(word, _)| word.clone()).collect(),
        }),
        ..Feature::number(name, 0.0, 1.0)
    };
    Ok((feature, facts))
}

impl Column<'_> {
    /// The values that are there.
    fn values(&self) -> impl Iterator<Item = f64> {
        let values = self.values.iter().filter(|value| !value.is_nan());
        values.map(|value| f64::from(*value))
    }

    fn missing(&self) -> u64 {
        (self.values.len() - self.values().count()) as u64
    }

    fn of_numbers(&self, name: &str, dataset: &Dataset) -> (Feature, ColumnFacts) {
        let there = Moments::of(self.values());
        let filled = match dataset.missing {
            Missing::Mean => Some(there.mean),
            Missing::Median => Some(self.median()),
            Missing::Refuse | Missing::Drop => None,
        };
        let facts = there.facts(name, self.missing());
        let (mean, scale) = self.scale(filled, dataset);
        let feature = Feature {
            missing: filled,
            ..Feature::number(name, mean, scale)
        };
        (feature, facts)
    }

    fn of_words(&self, name: &str, words: &[String], dataset: &Dataset) -> (Feature, ColumnFacts) {
        let categorical = dataset.categorical.clone().unwrap_or_default();
        let filled = dataset.missing.fills().then(|| self.most_frequent(words.len()));
        let (mean, scale) = match categorical.encoding {
            Encoding::OneHot => (0.0, 1.0),
            Encoding::Index => self.scale(filled, dataset),
        };
        let facts = ColumnFacts {
            name: name.to_owned(),
            missing: self.missing(),
            words: Some(words.len() as u64),
            numbers: None,
            texts: None,
        };
        let feature = Feature {
            missing: filled,
            vocabulary: Some(Vocabulary {
                words: words.to_vec(),
                encoding: categorical.encoding,
                unknown: categorical.unknown,
            }),
            ..Feature::number(name, mean, scale)
        };
        (feature, facts)
    }

    /// Mean and scale of what the network will see.
    fn scale(&self, filled: Option<f64>, dataset: &Dataset) -> (f64, f64) {
        if !dataset.standardize {
            return (0.0, 1.0);
        }
        let fills = filled.map_or(0, |_| self.missing() as usize);
        let fills = std::iter::repeat_n(filled.unwrap_or_default(), fills);
        Moments::of(self.values().chain(fills)).scale()
    }

    /// The middle of the values, or the mean of the two in the middle.
    fn median(&self) -> f64 {
        let mut values: Vec<f64> = self.values().collect();
        values.sort_by(f64::total_cmp);
        match values.len() {
            0 => 0.0,
            count if count % 2 == 1 => values[count / 2],
            count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
        }
    }

    /// The first in order of the words that are there most often.
    fn most_frequent(&self, words: usize) -> f64 {
        let mut counts = vec![0_u64; words];
        for value in self.values() {
            counts[value as usize] += 1;
        }
        let most = counts.iter().max().copied().unwrap_or_default();
        counts.iter().position(|count| *count == most).unwrap_or_default() as f64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn measured(csv: &str, rows: &[usize], settings: &serde_json::Value) -> Vec<(Feature, ColumnFacts)> {
        let mut dataset = json!({"uri": "x.csv", "target": "y"});
        dataset
            .as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let dataset: Dataset = serde_json::from_value(dataset).unwrap();
        let table = crate::table::read(csv.as_bytes(), &dataset).unwrap();
        measure(&table, rows, &dataset, u64::MAX).unwrap()
    }

    #[test]
    fn only_the_rows_that_are_learned_from_are_measured() {
        let csv = "a,constant,large,y\n1,0.1,10000000,0\n3,0.1,10000002,1\n100,5,0,1\n";
        let features = measured(csv, &[0, 1], &json!({}));
        let numbers: Vec<(f64, f64)> = features
            .iter()
            .map(|(feature, _)| (feature.mean, feature.scale))
            .collect();
        assert_eq!(numbers, [(2.0, 1.0), (f64::from(0.1f32), 1.0), (1e7 + 1.0, 1.0)]);
        let facts = features[0].1.numbers.unwrap();
        assert_eq!((facts.min, facts.max, facts.deviation), (1.0, 3.0, 1.0));
        assert_eq!(features[1].1.numbers.unwrap().deviation, 0.0);
        let plain = measured(csv, &[0, 1], &json!({"standardize": false}));
        assert!(
            plain
                .iter()
                .all(|(feature, _)| (feature.mean, feature.scale) == (0.0, 1.0))
        );
    }

    #[test]
    fn what_is_missing_is_filled_from_the_rows_that_are_learned_from() {
        let csv = "a,w,y\n1,red,0\n,blue,1\n3,,1\n8,blue,0\n100,red,1\n";
        let rows = [0, 1, 2, 3];
        for (policy, number) in [("Mean", 4.0), ("Median", 3.0)] {
            let features = measured(csv, &rows, &json!({"missing": policy}));
            assert_eq!(features[0].0.missing, Some(number), "{policy}");
            assert_eq!((features[0].1.missing, features[1].1.missing), (1, 1));
            // blue, of blue and red.
            assert_eq!(features[1].0.missing, Some(0.0));
            assert_eq!((features[1].0.mean, features[1].0.scale), (0.0, 1.0), "one-hot");
        }
        // The mean in the place of what is missing narrows the deviation.
        let (feature, facts) = &measured(csv, &rows, &json!({"missing": "Mean"}))[0];
        assert!(feature.scale < facts.numbers.unwrap().deviation);
    }

    #[test]
    fn the_words_of_texts_are_those_of_the_rows_that_are_learned_from_by_frequency() {
        let csv = "review,y\nb a A c,1\n\"b, d!\",0\n?!,0\ne e e e,1\n,1\n";
        let of = |vocabulary: u32| {
            let settings = json!({"text": {"column": "review", "length": 4, "vocabulary": vocabulary}, "missing": "Mean"});
            measured(csv, &[0, 1, 2, 4], &settings).remove(0)
        };
        let (feature, facts) = of(100);
        let words = feature.text.unwrap();
        assert_eq!(
            (words.length, words.words),
            (4, ["a", "b", "c", "d"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            (feature.mean, feature.scale, feature.missing),
            (0.0, 1.0, Some(0.0))
        );
        let expected = TextFacts {
            texts: 3,
            words: 4,
            kept: 4,
            unknown: 0.0,
        };
        assert_eq!((facts.missing, facts.texts), (1, Some(expected)));
        let (feature, facts) = of(4);
        assert_eq!(feature.text.unwrap().words, ["a", "b"]);
        let facts = facts.texts.unwrap();
        assert_eq!((facts.words, facts.kept, facts.unknown), (4, 2, 2.0 / 6.0));
    }
}
