// What the single executable starts with: the files inside it are known before the program looks for them.
import "./embed.ts";
import "./main.ts";
