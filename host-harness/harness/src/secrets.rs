//! Where secrets come from: a named environment variable, a hidden prompt, or a line of standard input.
//!
//! Never an argument, never a default, never printed.

use std::env::VarError;
use std::io::{BufRead, IsTerminal};

use anyhow::{Context, Result, bail, ensure};
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
