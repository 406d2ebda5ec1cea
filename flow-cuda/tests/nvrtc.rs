//! Every kernel compiles under NVRTC for three generations of cards. `scripts/nvrtc` gets the
//! compiler; without it these tests say so and pass.

use std::path::Path;

use flow_cuda::kernels::FAMILIES;
use flow_cuda::{Cache, Compiler};

const ARCHITECTURES: [&str; 3] = ["compute_75", "compute_80", "compute_90"];

/// The compiler that `scripts/nvrtc` brought, or the machine's own.
fn compiler() -> Option<Compiler> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/nvrtc");
    if std::env::var_os("FLOW_CUDA_PATH").is_none() && folder.exists() {
        std::env::set_var("FLOW_CUDA_PATH", folder);
    }
    let found = Compiler::new();
    if let Err(error) = &found {
        eprintln!("NOT TESTED: no kernel was compiled, run scripts/nvrtc first\n{error}");
    }
    found.ok()
}

#[test]
fn every_kernel_compiles() {
    let Some(compiler) = compiler() else { return };
    let folder = std::env::temp_dir().join(format!("flow-cuda-fill-{}", std::process::id()));
    let cache = Cache::new(&folder);
    cache.fill(&ARCHITECTURES).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), ARCHITECTURES.len() * FAMILIES.len());
    for architecture in ARCHITECTURES {
        for family in FAMILIES {
            let ptx = cache.ptx(family, architecture).unwrap();
            for kernel in family.kernels() {
                let entry = format!(".entry {kernel}(");
                assert!(ptx.contains(&entry), "{}: no {entry}", family.name);
            }
        }
    }
    std::fs::remove_dir_all(folder).unwrap();

    let mut broken = FAMILIES[0];
    broken.text = "extern \"C\" __global__ void gather(Arguments a) { b = 1; }";
    let error = compiler.compile(&broken, "compute_80").unwrap_err().to_string();
    assert!(error.contains("rows.cu") && error.contains("\"b\" is undefined"), "{error}");
}
