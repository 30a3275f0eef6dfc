//! Where secrets come from: a named environment variable, a hidden prompt, or a line of standard input.
//!
//! Never an argument, never a default, never printed.

use std::env::VarError;
use std::io::{BufRead, IsTerminal};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use koalr_host::vault::Secret;

/// The secret in this variable; outer white space is not part of it.
pub(crate) fn from_variable(variable: &str) -> Result<Secret> {
    let secret = match std::env::var(variable) {
        Ok(value) => Secret::new(value),
        Err(VarError::NotPresent) => bail!("the environment variable {variable} is not set"),
        Err(VarError::NotUnicode(_)) => bail!("the environment variable {variable} is not UTF-8"),
    };
    ensure!(!secret.expose().is_empty(), "the environment variable {variable} is empty");
    Ok(secret)
}

/// Characters that a token has at least: what `openssl rand -hex 8` makes.
const SHORTEST_TOKEN: usize = 16;

/// A token that somebody could guess.
#[derive(Debug, thiserror::Error)]
#[error(
    "the token in {variable} is too short: it has {characters} of at least {SHORTEST_TOKEN} characters; `openssl rand -hex 16` makes one"
)]
pub(crate) struct WeakToken {
    variable: String,
    characters: usize,
}

/// The token in this variable, long enough that nobody guesses it.
pub(crate) fn token(variable: &str) -> Result<Secret> {
    let token = from_variable(variable)?;
    let characters = token.expose().chars().count();
    if characters < SHORTEST_TOKEN {
        return Err(WeakToken { variable: variable.to_owned(), characters }.into());
    }
    Ok(token)
}

/// Asks a person, or reads the next line of standard input. None for an empty answer.
pub(crate) fn ask(question: &str) -> Result<Option<Secret>> {
    let answer = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{question}: ")).context("the prompt was interrupted")?
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("standard input cannot be read")?;
        line
    };
    let secret = Secret::new(answer);
    Ok(if secret.expose().is_empty() { None } else { Some(secret) })
}

/// The secret in the variable if one is named, else the answer to the question.
pub(crate) fn required(variable: Option<&str>, question: &str) -> Result<Secret> {
    match variable {
        Some(variable) => from_variable(variable),
        None => match ask(question)? {
            Some(secret) => Ok(secret),
            None => {
                bail!("no secret was given; type it, pipe it, or name an environment variable that holds it")
            }
        },
    }
}

/// Bytes of the shortest signing key that Standard Webhooks allows.
const SHORTEST: usize = 24;

/// What to tell a person about signing secrets that can be used and should not be. What is no secret at all is refused
/// when it is saved.
pub(crate) fn warning(secrets: &[Secret]) -> Option<String> {
    let lengths = secrets.iter().filter_map(|secret| {
        let text = secret.expose();
        let key = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
        Some(zeroize::Zeroizing::new(key).len())
    });
    let shortest = lengths.min().filter(|length| *length < SHORTEST)?;
    Some(format!(
        "a webhook signing secret has {shortest} bytes, and less than {SHORTEST} can be guessed: make a new one at the \
         provider"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_signing_secret_is_warned_of_and_a_long_one_is_not() {
        let told = |secrets: &[&str]| {
            let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new((*text).to_owned())).collect();
            warning(&secrets)
        };
        assert!(told(&["whsec_AA=="]).unwrap().contains("1 bytes"));
        let (short, long) = (STANDARD.encode([7; 23]), STANDARD.encode([7; 24]));
        assert!(told(&[&short]).unwrap().contains("23 bytes"));
        assert_eq!(told(&[&format!("whsec_{long}")]), None);
        assert!(told(&[&long, &short]).is_some(), "each of them counts");
        assert_eq!(told(&["no base64"]), None, "that is no secret, and is refused as such");
        assert_eq!(told(&[]), None);
    }
}
