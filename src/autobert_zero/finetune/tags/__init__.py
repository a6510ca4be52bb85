"""Tasks that give each word of a sentence a tag: names of entities, parts of speech."""
