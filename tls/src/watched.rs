//! Something that is made from files, and made anew when their content changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// More than any certificate chain or list of users has.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files that cannot be used. The text names them and never shows what they hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {problem}", names(.paths))]
pub struct FileError {
    pub paths: Vec<PathBuf>,
    pub problem: String,
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync>;

/// The newest usable state of some files.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    /// From the files' contents, in the order of the paths.
    make: Make<T>,
    current: ArcSwap<T>,
    /// Hash of the contents that were looked at last, usable or not.
    seen: Mutex<u64>,
}

impl<T> Watched<T> {
    /// Reads the files; an error when they are not usable now.
    pub fn open(paths: Vec<PathBuf>, make: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static) -> Result<Self, FileError> {
        let contents = read_all(&paths)?;
        let first = make(&contents).map_err(|problem| FileError { paths: paths.clone(), problem })?;
        Ok(Self { paths, make: Box::new(make), current: ArcSwap::from_pointee(first), seen: Mutex::new(hash(&contents)) })
    }

    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads the files again; true when they have changed and are in use now. After an error what was in use stays in use. Contents
    /// that were refused are refused once: until they change again, this answers false.
    pub fn refresh(&self) -> Result<bool, FileError> {
        let mut seen = self.seen.lock();
        let contents = read_all(&self.paths)?;
        let found = hash(&contents);
        if *seen == found {
            return Ok(false);
        }
        *seen = found;
        let made = (self.make)(&contents).map_err(|problem| FileError { paths: self.paths.clone(), problem })?;
        self.current.store(Arc::new(made));
        Ok(true)
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let fault = |problem: String| FileError { paths: vec![path.to_path_buf()], problem };
    let bytes = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(fault(format!("{bytes} bytes are more than such a file has ({FILE_BYTES_MAX})")));
    }
    std::fs::read(path).map_err(|error| fault(error.to_string()))
}

fn hash(contents: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_until_something_usable_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "7").unwrap();
        let number = |contents: &[Vec<u8>]| String::from_utf8_lossy(&contents[0]).parse::<u32>().map_err(|error| error.to_string());
        let watched = Watched::open(vec![path.clone()], number).unwrap();
        assert!(!watched.refresh().unwrap());
        std::fs::write(&path, "seven").unwrap();
        assert!(watched.refresh().unwrap_err().to_string().contains("number: invalid digit"));
        assert!(!watched.refresh().unwrap(), "told once");
        assert_eq!(*watched.current(), 7);
        std::fs::write(&path, "8").unwrap();
        assert!(watched.refresh().unwrap());
        assert_eq!(*watched.current(), 8);
        std::fs::remove_file(&path).unwrap();
        assert!(watched.refresh().is_err());
        assert_eq!(*watched.current(), 8);
        assert!(Watched::open(vec![path], number).is_err());
    }
}
