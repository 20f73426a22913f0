# zsh-capture.zsh <script> <line> <out>: writes what an interactive zsh with that completion script offers for the line, one match
# a line, and END behind them. A pseudo-terminal of zsh's own, because completion runs in the line editor only.
zmodload zsh/zpty
zpty child zsh -f -i
say() { zpty -w child "$1" }
say "PROMPT=; out=${(q)3}"
say "autoload -Uz compinit && compinit -D -u && source ${(q)1}"
say 'compadd() {
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
  local -a hits
  builtin compadd -A hits "$@"
  print -rl -- $hits >> $out
}'
say 'finish() { print END >> $out }; comppostfuncs=(finish)'
say "bindkey '^I' complete-word; zstyle ':completion:*' insert-tab false"
zpty -w -n child "$2"$'\t'
for look in {1..1200}; do
  [[ -f $3 ]] && grep -q '^END$' $3 && break
  zpty -r -t child > /dev/null
  sleep 0.05
done
zpty -d child
[[ -f $3 ]]
