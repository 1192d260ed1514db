import { render } from 'preact'

import { App } from './app.tsx'
import './style.css'
import { takeToken } from './token.ts'

takeToken()
render(<App />, document.getElementById('app')!)
