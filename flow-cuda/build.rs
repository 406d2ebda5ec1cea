//! Compiles the kernels as C++ for the emulated device, where a compiler is found.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(emulated)");
    println!("cargo::rerun-if-changed=src/kernels");
    println!("cargo::rerun-if-changed=src/emulated");
    #[cfg(feature = "emulation")]
    emulation::build();
}

#[cfg(feature = "emulation")]
mod emulation {
    use std::fmt::Write as _;
    use std::path::PathBuf;
    use std::{env, fs};

    /// One C++ file of all kernels and a table of their names.
    pub(crate) fn build() {
        let kernels = PathBuf::from("src/kernels");
        let mut files: Vec<PathBuf> = fs::read_dir(&kernels)
            .expect("the folder of kernels")
            .map(|entry| entry.expect("a file of kernels").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
            .collect();
        files.sort();
        let here = env::current_dir().expect("a current folder");
        macro_rules! headers {
            ($($name:literal,)*) => { [$($name),*] };
        }
        let mut source = String::from("#include \"emulation.h\"\n");
        for header in include!("src/kernels/headers.in") {
            writeln!(source, "#include \"{header}\"").expect("room for a line");
        }
        let mut table = String::new();
        for file in &files {
            let text = fs::read_to_string(file).expect("a file of kernels");
            for part in text.split("__global__ void ").skip(1) {
                let name: String =
                    part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                writeln!(table, "    {{\"{name}\", {name}}},").expect("room for a line");
            }
            writeln!(source, "#include \"{}\"", here.join(file).display()).expect("room");
        }
        writeln!(source, "static const Kernel KERNELS[] = {{\n{table}}};").expect("room");
        source.push_str("#include \"launch.h\"\n");
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("a folder to write to"));
        let path = out.join("kernels.cpp");
        fs::write(&path, source).expect("a file to write");

        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").file(path).opt_level(2);
        build.include("src/kernels").include("src/emulated");
        // Fibers leave a stack by longjmp, which the fortified one takes for an error.
        build.flag("-U_FORTIFY_SOURCE").warnings(false);
        match build.try_compile("flow_cuda_emulation") {
            Ok(()) => println!("cargo::rustc-cfg=emulated"),
            Err(error) => println!("cargo::warning=no emulated GPU: {error}"),
        }
    }
}
