//! Whether the database can be written, and is the one that was opened.

use super::SqliteStore;
use super::fault::Result;
use crate::port::{Health, StoreError};

#[async_trait::async_trait]
impl Health for SqliteStore {
    async fn try_write(&self) -> Result<()> {
        self.write(|connection| {
            let insert = "INSERT INTO trial (body) VALUES (zeroblob(16384))";
            connection.prepare_cached(insert)?.execute([])?;
            connection.prepare_cached("DELETE FROM trial")?.execute([])?;
            Ok(())
        })
        .await
    }

    async fn gone(&self) -> StoreError {
        self.identity.gone().await
    }
}
