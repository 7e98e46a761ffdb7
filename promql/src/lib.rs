//! PromQL as Prometheus 3 speaks it: lexer, parser, printer, engine.
//!
//! Modules stand from the bottom up; a module imports only modules listed above it.

pub mod quote;
pub mod number;
pub mod kahan;
pub mod histogram;
pub mod time_text;
pub mod position;
pub mod value_type;
pub mod labels;
pub mod regex;
pub mod matcher;
pub mod operator;
pub mod token;
pub mod lexer;
pub mod literal;
pub mod function_signatures;
pub mod ast;
pub mod printer;
pub mod pretty;
pub mod ast_json;
pub mod annotations;
pub mod sample;
pub mod parser;
pub mod value;
pub mod subplan;
pub mod source;
pub mod memory_source;
pub mod engine;
pub mod testlang;
pub mod script_runner;

pub use ast_json::ast_json;
pub use parser::{ParseErrors, ParserOptions, parse};
pub use pretty::pretty;
