//! Writes the CRDs to a folder (`crds/yaml` by default), or with `--sizes` prints how large each is.

use std::path::PathBuf;
use std::process::ExitCode;

use sconce_crds::manifest;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let argument = std::env::args().nth(1);
    let files = manifest::files()?;
    if argument.as_deref() == Some("--sizes") {
        for (name, yaml) in &files {
            println!("{:>7} bytes  {name}", yaml.len());
        }
        println!(
            "{:>7} bytes  in all",
            files.iter().map(|(_, yaml)| yaml.len()).sum::<usize>()
        );
        return Ok(());
    }
    let folder = argument.map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/yaml")),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder)?;
    for (name, yaml) in files {
        std::fs::write(folder.join(name), yaml)?;
    }
    Ok(())
}
