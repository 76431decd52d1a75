//! load-csv and load-parquet: from a file to the batches of an epoch, as whole processes. Megabytes are those of the file,
//! which of Parquet are compressed.

use std::fs;
use std::path::Path;
use std::process::Command;

use sconce_tests::frameworks::{PYTORCH, TABLES};
use sconce_tests::process;

use crate::child::run;
use crate::figure::{Turns, note};
use crate::{Options, Result};

/// How far two sums of all inputs may be apart, relatively: what the order of adding changes.
const SUM_TOLERANCE: f64 = 1e-3;

/// Prints both figures.
pub fn measure(options: &Options) -> Result {
    let (tables, pytorch) = (TABLES.python()?, PYTORCH.python()?);
    let folder = tempfile::tempdir()?;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/load");
    let mut make = Command::new(&tables);
    make.arg(scripts.join("make_tables.py")).arg(folder.path());
    process::run("making the tables", make.arg(options.megabytes.to_string()))?;
    for (name, file) in [("load-csv", "table.csv"), ("load-parquet", "table.parquet")] {
        let file = folder.path().join(file);
        let megabytes = fs::metadata(&file)?.len() as f64 / 1e6;
        note(&format!("{name}: {megabytes:.0} MB"));
        let by = |python: &Path, reader: &str| {
            let mut command = options.pinned(python);
            command
                .arg(scripts.join("take_batches.py"))
                .arg(reader)
                .arg(&file);
            (reader.to_owned(), command)
        };
        let mut ours = options.pinned(&options.programs.join("examples/take_batches"));
        ours.arg(&file);
        let mut contenders = vec![
            ("sconce".to_owned(), ours),
            by(&tables, "pandas"),
            by(&tables, "polars"),
        ];
        if name == "load-csv" {
            // pandas' other reader of text, which several threads take part in.
            contenders.push(by(&tables, "pandas-pyarrow"));
            // PyTorch's environment reads no Parquet; pandas alone is the faster of the two.
            contenders.push(by(&pytorch, "pandas-dataloader"));
        }
        let names: Vec<String> = contenders.iter().map(|(name, _)| name.clone()).collect();
        let [mut speeds, mut memory] = [(); 2].map(|()| Turns::of(&names));
        for turn in 0..=options.pairs {
            let mut told = None;
            for (index, (name, command)) in contenders.iter_mut().enumerate() {
                let done = run(command)?;
                same(&mut told, name, &done.output)?;
                note(&format!(
                    "{name}, turn {turn}: {:.3} s, {:.0} MiB",
                    done.seconds, done.peak
                ));
                // Once without looking at the clock: the file is in memory then, and Python's own are compiled.
                if turn > 0 {
                    speeds.add(index, megabytes / done.seconds);
                    memory.add(index, done.peak);
                }
            }
        }
        speeds.print_most(name, "MB/s");
        memory.print(&format!("{name}-memory"), "MiB");
    }
    Ok(())
}

/// Refuses figures of contenders that took other rows.
fn same(told: &mut Option<(u64, f64)>, name: &str, output: &str) -> Result {
    let line = output.lines().next_back().unwrap_or_default();
    let (rows, sum) = line.split_once(' ').ok_or("no rows and sum at the end")?;
    let (rows, sum): (u64, f64) = (rows.parse()?, sum.parse()?);
    let (all, expected) = *told.get_or_insert((rows, sum));
    if rows != all || (sum - expected).abs() > SUM_TOLERANCE * expected.abs().max(1.0) {
        return Err(format!("{name} took {rows} rows with the sum {sum}, not {all} with {expected}").into());
    }
    Ok(())
}
