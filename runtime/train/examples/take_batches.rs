//! What `make bench-load` measures of ours: from a table to the batches of an epoch, `take_batches FILE`. The last line is
//! the number of rows and the sum of all inputs.

use std::error::Error;
use std::path::Path;

use sconce_contract::{Dataset, Mount};
use sconce_store::Store;
use sconce_train::data::{Batch, Data};
use sconce_train::{room::Room, source, split, target, watch::Stop};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a batch.
const BATCH: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("the file is missing")?;
    let file = Path::new(&file).canonicalize()?;
    let folder = file.parent().ok_or("the file is in no folder")?;
    let name = file.file_name().and_then(|name| name.to_str());
    let dataset: Dataset = serde_json::from_value(json!({
        "uri": format!("pvc://data/{}", name.ok_or("the file's name is no text")?),
        "target": "label",
        "standardize": false,
        "split": {"validation": 0.0, "test": 0.0},
    }))?;
    let store = Store::new(vec![Mount {
        uri: "pvc://data".to_owned(),
        path: folder.to_owned(),
    }]);
    let room = Room::found(None, None);
    let read = source::read(&store, &dataset, &room, &Stop::default())?;
    let target = target::read(&read.table.target, &dataset.target, None)?;
    let parts = split::parts(read.rows, &dataset.split)?;
    let data = Data::new(read.table, parts, &target, &dataset, &room)?;

    let mut batches = data.training.epoch(1, 0, BATCH, 0);
    let (mut batch, mut count, mut total) = (Batch::default(), 0, 0.0);
    while let Some((rows, taken)) = batches.next(&mut batch)? {
        count += rows;
        total += sum(taken.x);
    }
    println!("{count} {total}");
    Ok(())
}

/// Several at a time, as NumPy adds them: one after the other, each would wait for the one before.
fn sum(values: &[f32]) -> f64 {
    let mut sums = [0.0; 16];
    for values in values.chunks(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f64::from(*value);
        }
    }
    sums.iter().sum()
}
