//! Checks passwords: slowly, a few at a time, and each right one only once.

use std::collections::HashSet;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{ARGON2ID_IDENT, Argon2, Params};
use parking_lot::Mutex;
use ring::hmac;
use tokio::sync::Semaphore;

/// The most that one check may take: 256 MiB and so many passes, or a mistake in the file could stop the node.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 32;
const LANES_MAX: u32 = 16;
/// Longer ones are refused before they are hashed.
const PASSWORD_BYTES_MAX: usize = 1024;
/// Remembered right answers; users have one each, so this is never reached unless the file changes all the time.
const KNOWN_MAX: usize = 20_000;

/// More passwords wait than may.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy;

pub struct PasswordChecker {
    /// Of this process only: what is remembered cannot be computed, or made to collide, from outside (CVE-2022-46146).
    secret: hmac::Key,
    known: Mutex<HashSet<[u8; 32]>>,
    places: Arc<Semaphore>,
    /// Places of those who are being checked or wait.
    queue: Semaphore,
}

impl PasswordChecker {
    pub fn new(concurrency: usize, queue: usize) -> PasswordChecker {
        let secret: [u8; 32] = rand::random();
        PasswordChecker {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            known: Mutex::default(),
            places: Arc::new(Semaphore::new(concurrency)),
            queue: Semaphore::new(concurrency + queue),
        }
    }

    /// Whether the password fits the hash.
    pub async fn check(&self, user: &str, hash: &str, password: String) -> Result<bool, Busy> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let tag = self.tag(&[user, hash, &password]);
        if self.known.lock().contains(&tag) {
            return Ok(true);
        }
        let _queued = self.queue.try_acquire().map_err(|_| Busy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Busy)?;
        let hash = hash.to_string();
        // The place goes along: who hangs up does not make room for another check.
        let checking = tokio::task::spawn_blocking(move || {
            let _place = place;
            fits(&password, &hash)
        });
        let is_right = checking.await.unwrap_or(false);
        if is_right {
            self.remember(tag);
        }
        Ok(is_right)
    }

    pub fn forget(&self) {
        self.known.lock().clear();
    }

    fn remember(&self, tag: [u8; 32]) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(tag);
    }

    /// Each part with its length, so that no two lists of parts are the same bytes.
    fn tag(&self, parts: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.secret);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

fn fits(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Whether this is a hash that passwords can be checked against, at a bounded cost.
pub fn check_hash(text: &str) -> Result<(), String> {
    let unusable = || "password is no argon2id hash ($argon2id$v=19$…); make one with `tern hash-password`".to_string();
    let hash = PasswordHash::new(text).map_err(|_| unusable())?;
    if hash.algorithm != ARGON2ID_IDENT || hash.hash.is_none() || hash.salt.is_none() {
        return Err(unusable());
    }
    let params = Params::try_from(&hash).map_err(|_| unusable())?;
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
        return Err(format!("password costs too much to check: at most m={MEMORY_KIB_MAX}, t={PASSES_MAX}, p={LANES_MAX}"));
    }
    Ok(())
}

/// What the file keeps of a password: argon2id with OWASP's parameters and a fresh salt.
pub fn hash_password(password: &str) -> Result<String, String> {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes"));
    }
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_was_right_is_remembered_and_only_for_that_user_hash_and_password() {
        let checker = PasswordChecker::new(1, 4);
        let hash = hash_password("right").expect("hashed");
        assert_eq!(checker.check("a", &hash, "wrong".into()).await, Ok(false));
        assert_eq!(checker.known.lock().len(), 0);
        assert_eq!(checker.check("a", &hash, "right".into()).await, Ok(true));
        assert_eq!(checker.known.lock().len(), 1);
        // With what was remembered and no place to check, only the same question is answered.
        checker.places.close();
        assert_eq!(checker.check("a", &hash, "right".into()).await, Ok(true));
        for (user, password) in [("b", "right"), ("a", "wrong"), ("a", ""), ("", "aright")] {
            assert_eq!(checker.check(user, &hash, password.into()).await, Err(Busy));
        }
        checker.forget();
        assert_eq!(checker.check("a", &hash, "right".into()).await, Err(Busy));
    }

    #[test]
    fn parts_are_not_run_together() {
        let checker = PasswordChecker::new(1, 0);
        assert_ne!(checker.tag(&["ab", "c"]), checker.tag(&["a", "bc"]));
        assert_ne!(checker.tag(&["a"]), PasswordChecker::new(1, 0).tag(&["a"]), "another process has another secret");
    }

    #[tokio::test]
    async fn further_questions_than_may_wait_are_turned_away() {
        let checker = Arc::new(PasswordChecker::new(1, 1));
        let hash = hash_password("right").expect("hashed");
        let held = Arc::clone(&checker.places).acquire_owned().await.expect("open");
        let ask = || {
            let (checker, hash) = (Arc::clone(&checker), hash.clone());
            tokio::spawn(async move { checker.check("a", &hash, "right".into()).await })
        };
        let waiting = [ask(), ask()];
        while checker.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(checker.check("a", &hash, "right".into()).await, Err(Busy));
        drop(held);
        for waiting in waiting {
            assert_eq!(waiting.await.expect("no panic"), Ok(true));
        }
    }

    #[test]
    fn hashes_that_cost_too_much_or_are_of_another_kind_are_refused() {
        let good = hash_password("x").expect("hashed");
        assert_eq!(check_hash(&good), Ok(()));
        assert!(check_hash(&good.replace("m=19456", "m=4000000")).is_err_and(|problem| problem.contains("costs too much")));
        for wrong in ["x", "$2y$10$abcdefghijklmnopqrstuv", &good.replace("argon2id", "argon2i"), "$argon2id$v=19$m=19456,t=2,p=1"] {
            assert!(check_hash(wrong).is_err_and(|problem| problem.contains("no argon2id hash")), "{wrong}");
        }
    }
}
