//! What is kept in `corpus/`, without a fuzzer: what was found once stays found.

use std::{collections::BTreeSet, fs, path::Path};

use qos_fuzz::TARGETS;

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_input_holds() -> anyhow::Result<()> {
    for (name, hold) in TARGETS {
        let mut inputs = 0;
        for file in fs::read_dir(corpus().join(name))? {
            let path = file?.path();
            println!("{}", path.display());
            hold(&fs::read(path)?);
            inputs += 1;
        }
        assert!(inputs > 5, "{name} begins with {inputs} inputs");
    }
    Ok(())
}

#[test]
fn every_folder_is_a_target() -> anyhow::Result<()> {
    let folders: BTreeSet<String> = fs::read_dir(corpus())?
        .map(|entry| Ok(entry?.file_name().display().to_string()))
        .collect::<anyhow::Result<_>>()?;
    assert_eq!(folders, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    Ok(())
}
