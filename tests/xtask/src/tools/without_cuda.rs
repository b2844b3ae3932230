//! PyTorch of PyPI on a machine without a graphics card.
//!
//! The wheels of PyPI are linked to the libraries of CUDA, 4 GB of packages that nothing here calls, and there are no
//! others there for this kind of machine. The loader only wants libraries of these names, because what is called in
//! them is looked up when it is called. So empty ones are made, and only CUDA's runtime, which registers itself while
//! it is loaded, is the real one.
use super::path;
use crate::project::{Project, output, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The libraries, as the pinned PyTorch names them.
const LIBRARIES: [&str; 12] = [
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudnn.so.9",
    "libcufft.so.12",
    "libcufile.so.0",
    "libcupti.so.13",
    "libcusolver.so.12",
    "libcusparse.so.12",
    "libcusparseLt.so.0",
    "libnccl.so.2",
    "libnvrtc.so.13",
    "libnvshmem_host.so.3",
];

/// The one variable among all that is looked up, which is done at once, and the version that it is looked up by.
const SOURCE: &str = "long nvshmem_selected_device_transport;\n";
const VERSIONS: &str = "NVSHMEM { global: *; };\n";

/// Has Python look functions of libraries up when they are called, not when a library is loaded.
const LAZY: &str = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n";

/// Makes these libraries for the PyTorch of an environment, if there is one.
pub(super) fn satisfy(project: &Project, home: &Path) -> Result<()> {
    let python = home.join("bin/python");
    let packages =
        output(project.command(&python).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))?;
    let packages = Path::new(packages.trim());
    let libraries = packages.join("torch/lib");
    if !libraries.is_dir() {
        return Ok(());
    }
    let (source, versions) = (home.join("empty.c"), home.join("empty.map"));
    fs::write(&source, SOURCE).and_then(|()| fs::write(&versions, VERSIONS)).context("an empty library")?;
    for name in LIBRARIES {
        let mut cc = project.command("cc");
        cc.env("PATH", path::search()).args(["-shared", "-nostdlib", &format!("-Wl,-soname,{name}")]);
        if name.starts_with("libnvshmem") {
            cc.arg(format!("-Wl,--version-script={}", versions.display()));
        }
        run(cc.arg(&source).arg("-o").arg(libraries.join(name)))?;
    }
    fs::write(packages.join("lazy.pth"), LAZY).context("lazy.pth")?;
    run(project.command(&python).args(["-c", "import torch"]))
}
